"""Chat templates of the families' kinds, in our own words: same markers, same ways with messages and tools.

Not about rendering them, nor about the templates trainers write.
"""

from __future__ import annotations

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
