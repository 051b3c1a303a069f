"""Chat templates of the families' kinds, in our own words (same markers, same ways with messages and
tools), of trainers' kinds, and what transformers makes of them.

Not about rendering them in a runtime.
"""

from __future__ import annotations

from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

from exporter.lowering.conversations import Conversation

GEMMA_1 = GEMMA_2 = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}{{ raise_exception('There is no system role') }}{%- endif -%}
{%- for message in messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception('user and assistant take turns') }}
    {%- endif -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{- '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}
"""
GEMMA_3 = """\
{{ bos_token }}
{%- set before = '' -%}
{%- set rest = messages -%}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set before = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}
        {%- set before = messages[0]['content'][0]['text'] + '\\n\\n' -%}
    {%- endif -%}
    {%- set rest = messages[1:] -%}
{%- endif -%}
{%- for message in rest -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception('user and assistant take turns') }}
    {%- endif -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{- '<start_of_turn>' + role + '\\n' + (before if loop.first else '') -}}
    {%- if message['content'] is string -%}
        {{- message['content'] | trim -}}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}<start_of_image>
            {%- elif item['type'] == 'text' -%}{{- item['text'] | trim -}}{%- endif -%}
        {%- endfor -%}
    {%- else -%}{{ raise_exception('Content of no known kind') }}{%- endif -%}
    {{- '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}
"""
GEMMA_4 = """\
{%- macro arguments(properties) -%}
    {%- for key, value in properties | dictsort -%}
        {{ key }}:{
        {%- if value['description'] -%}description:{{ quoted(value['description']) }},{%- endif -%}
        type:{{- quoted(value['type'], loud=True) -}} }
        {%- if not loop.last -%},{%- endif -%}
    {%- endfor -%}
{%- endmacro -%}
{%- macro declaration(tool) -%}
    {%- set function = tool['function'] -%}
    declaration:{{ function['name'] }}{description:<|"|>{{ function['description'] }}<|"|>
    {%- set parameters = function['parameters'] -%}
    {%- if parameters -%}
        ,parameters:{properties:{ {{- arguments(parameters['properties']) -}} },type:<|"|>
        {{- parameters['type'] | upper -}} <|"|>}
    {%- endif -%}
    }
{%- endmacro -%}
{%- macro quoted(text, loud=False) -%}
    <|"|>{{- (text | upper) if loud else text -}}<|"|>
{%- endmacro -%}
{%- macro without_thoughts(text) -%}
    {%- set kept = namespace(text='') -%}
    {%- for part in text.split('<channel|>') -%}
        {%- if '<|channel>' in part -%}
            {%- set kept.text = kept.text + part.split('<|channel>')[0] -%}
        {%- else -%}
            {%- set kept.text = kept.text + part -%}
        {%- endif -%}
    {%- endfor -%}
    {{- kept.text | trim -}}
{%- endmacro -%}
{%- macro said(role, text) -%}
    {%- if role == 'model' -%}{{- without_thoughts(text) -}}{%- else -%}{{- text | trim -}}{%- endif -%}
{%- endmacro -%}
{{ bos_token }}
{%- set first = messages[0]['role'] in ['system', 'developer'] -%}
{%- if (enable_thinking is defined and enable_thinking) or tools or first -%}
    {{- '<|turn>system\\n' -}}
    {%- if enable_thinking is defined and enable_thinking -%}{{- '<|think|>\\n' -}}{%- endif -%}
    {%- if first -%}{{- messages[0]['content'] | trim -}}{%- endif -%}
    {%- if tools -%}
        {%- for tool in tools -%}
            {{- '<|tool>' -}}{{- declaration(tool) | trim -}}{{- '<tool|>' -}}
        {%- endfor -%}
    {%- endif -%}
    {{- '<turn|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {%- if not (loop.first and first) -%}
        {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
        {{- '<|turn>' + role + '\\n' -}}
        {%- if message['content'] is string -%}{{- said(role, message['content']) -}}
        {%- elif message['content'] is sequence -%}
            {%- for item in message['content'] -%}
                {%- if item['type'] == 'text' -%}{{- said(role, item['text']) -}}{%- endif -%}
            {%- endfor -%}
        {%- endif -%}
        {{- '<turn|>\\n' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|turn>model\\n' -}}
    {%- if not enable_thinking | default(false) -%}{{- '<|channel>thought\\n<channel|>' -}}{%- endif -%}
{%- endif -%}
"""
FUNCTION_GEMMA = """\
{%- macro arguments(properties) -%}
    {%- for key, value in properties | dictsort -%}
        {{ key }}:{
        {%- if value['description'] -%}description:<escape>{{ value['description'] }}<escape>,{%- endif -%}
        type:<escape>{{ value['type'] | upper }}<escape>}
        {%- if not loop.last -%},{%- endif -%}
    {%- endfor -%}
{%- endmacro -%}
{%- macro declaration(tool) -%}
    {%- set function = tool['function'] -%}
    declaration:{{ function['name'] }}{description:<escape>{{ function['description'] }}<escape>
    {%- if function['parameters'] -%}
    {%- set parameters = function['parameters'] -%}
    ,parameters:{properties:{ {{- arguments(parameters['properties']) -}} },required:[
    {%- for name in parameters['required'] -%}
        <escape>{{ name }}<escape>{{ ',' if not loop.last }}
    {%- endfor -%}
    ],type:<escape>{{ parameters['type'] | upper }}<escape>}
    {%- endif -%}
    }
{%- endmacro -%}
{%- macro text(content) -%}
    {%- if content is string -%}{{- content | trim -}}
    {%- else -%}{%- for item in content -%}{{- item['text'] | trim -}}{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{{ bos_token }}
{%- set first = messages[0]['role'] in ('system', 'developer') -%}
{%- if tools or first -%}
    {{- '<start_of_turn>developer\\n' -}}
    {%- if first -%}{{- text(messages[0]['content']) -}}{%- endif -%}
    {%- for tool in tools or [] -%}
        {{- '<start_function_declaration>' -}}
        {{- declaration(tool) | trim -}}
        {{- '<end_function_declaration>' -}}
    {%- endfor -%}
    {{- '<end_of_turn>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {%- if not (loop.first and first) -%}
        {{- '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' -}}
        {{- text(message['content']) -}}{{- '<end_of_turn>\\n' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}
"""
LOOP = (
    "{{ bos_token }}{% for m in messages %}%s{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
TURN = "<start_of_turn>{{ m['role'] }}\n%s<end_of_turn>\n"
PARTS = (
    "{% if m['content'] is string %}{{ m['content'] | trim }}{% else %}"
    "{% for item in m['content'] %}{{ item['text'] | trim }}{% endfor %}{% endif %}"
)
THINKING = "{% if enable_thinking %}<|think|>{% endif %}"
TOOLS = (
    "{% if tools %}{% for t in tools %}{{ t.function.name }}: {{ t['function'].get('description') }}\n"
    "{% endfor %}{% endif %}"
)
TEMPLATES = {
    "strings": LOOP.replace("%s", TURN.replace("%s", "{{ m['content'] | trim }}")),
    "parts": LOOP.replace("%s", TURN.replace("%s", PARTS)),
    "thinking": LOOP.replace("{{ bos_token }}", "{{ bos_token }}" + THINKING).replace(
        "%s", TURN.replace("%s", PARTS)
    ),
    "tools": LOOP.replace("{{ bos_token }}", "{{ bos_token }}" + TOOLS).replace(
        "%s", TURN.replace("%s", "{{ m['content'] }}")
    ),
    "ChatML": (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "methods": LOOP.replace(
        "%s",
        "{{ m.get('role', 'user').upper() + ': ' + m.get('content').strip() + m.get('name', '') }}"
        "{% if m['content'].startswith('H') %}!{% endif %}\n",
    ),
    "eos": LOOP.replace("%s", "{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}"),
    "blocks on lines of their own": """\
{{ bos_token }}
{% for m in messages %}
    {% if m['role'] == 'user' %}

U: {{ m['content'].replace('e', 'a') }}
    {% else %}
A: {{ m['content'] | trim }}
    {% endif %}
    {# a remark #}
{% endfor %}
{% if add_generation_prompt %}
A:
{% endif %}
""",
    "refuses a system message": (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"
        + LOOP.replace("%s", TURN.replace("%s", "{{ m['content'] }}"))
    ),
    "of Gemma 2": GEMMA_2,
    "of Gemma 3": GEMMA_3,
    "of Gemma 4": GEMMA_4,
}
SPECIAL = {"bos_token": "<bos>", "eos_token": "<eos>"}


def transformers_prompt(template: str, conversation: Conversation) -> str | None:
    messages = [{"role": role, "content": text} for role, text in conversation.messages]
    rest: dict[str, Any] = {**SPECIAL, **dict(conversation.variables)}
    try:
        (found,), _ = render_jinja_template(
            conversations=[messages],
            tools=[dict(each) for each in conversation.tools] or None,
            chat_template=template,
            add_generation_prompt=True,
            **rest,
        )
    except Exception:  # the template refuses the conversation
        return None
    return str(found)
