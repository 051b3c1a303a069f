"""A prompt as the model of a release is given it: in its chat template where it has one, `<bos>` once.

The template is a stranger's program and rendered in a process of its own, as when the release was made.
Images and sounds stand in it as transformers' processors have them (`media_spelling`). Not about what comes
back (`generation`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import (
    CHAT_TEMPLATE,
    PROCESSOR_TEMPLATE,
    SPECIAL_TOKENS_MAP,
    TOKENIZER_CONFIG,
)
from exporter.checkpoints.tokenizer.chat_templates import read_chat_template
from exporter.checkpoints.tokenizer.media_spelling import MediaPlace, MediaRows, MediaSpelling
from exporter.checkpoints.tokenizer.template_rendering import Unrendered, render_each
from exporter.checkpoints.tokenizer.tokenizer_config import read_tokenizer_config, special_names
from exporter.checkpoints.tokenizer.turn_end import better, messages_of
from exporter.errors import TokenizerError, UsageError
from exporter.running.placed_release import COPY_AGAIN, PlacedRelease
from runtimes.errors import RuntimeUnavailable
from runtimes.excerpt import plain_excerpt
from runtimes.manifest import TokensEntry

TOKENIZER_NAME = "tokenizer.json"
SPOKEN_WITH = (TOKENIZER_NAME, TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP, CHAT_TEMPLATE, PROCESSOR_TEMPLATE)
OLDER = "the release was made before its stop tokens were kept: generation stops at {name} alone"


@dataclass(frozen=True)
class MediaPrompt:
    """tokens: with the soft token where rows of images and sounds go. places: of each of these."""

    tokens: list[int]
    places: tuple[MediaPlace, ...]


@dataclass(frozen=True)
class Speech:
    """A release's tokenizer, and what it takes to speak with its model. template: Jinja, None for a base
    model. special: what templates know special tokens by. remarks: a sentence each."""

    tokenizer: Any
    tokens: TokensEntry
    template: str | None
    special: dict[str, str]
    remarks: tuple[str, ...] = ()

    def prompt(self, text: str, plain: bool = False) -> list[int]:
        """Tokens of a prompt. plain: without the template, though there is one.

        Raises TokenizerError where the template does not render it.
        """
        if plain or self.template is None:
            return self._tokens(text)
        turns = (("user", text),)
        shown = self._render(self.template, (messages_of(turns, False), messages_of(turns, True)))
        return self._tokens(_rendered(better(turns, *shown)))

    def media_prompt(
        self, text: str, rows: MediaRows, spelling: MediaSpelling, plain: bool = False
    ) -> MediaPrompt:
        """Tokens of a prompt with images and sounds, where it has their placeholders or before it.

        Raises as `prompt`, and UsageError for a text that itself writes what stands for rows.
        """
        if plain or self.template is None:
            return self._with_media(spelling.begun(text, rows), rows, spelling)
        message = {"role": "user", "content": spelling.parts(text, rows)}
        return self.conversation([message], rows, spelling)

    def conversation(
        self, messages: Sequence[Mapping[str, Any]], rows: MediaRows, spelling: MediaSpelling
    ) -> MediaPrompt:
        """Tokens of messages as transformers takes them, with {"type": "image"} and {"type": "audio"} among
        their parts."""
        assert self.template is not None
        (shown,) = self._render(self.template, (messages,))
        return self._with_media(_rendered(shown), rows, spelling)

    def _with_media(self, text: str, rows: MediaRows, spelling: MediaSpelling) -> MediaPrompt:
        tokens = self._tokens(spelling.expanded(text, rows))
        return MediaPrompt(tokens, spelling.places(tokens, rows))

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        bos = self.tokens.bos_token
        return ids if ids[:1] == [bos] else [bos, *ids]

    def _render(
        self, template: str, conversations: Sequence[Sequence[Mapping[str, Any]]]
    ) -> tuple[str | Unrendered, ...]:
        if find_spec("jinja2") is None:
            raise RuntimeUnavailable(
                "jinja2, which renders the chat template, is not installed; install gemma-export[run]"
            )
        contexts = [
            {"messages": list(messages), "add_generation_prompt": True, **self.special}
            for messages in conversations
        ]
        return render_each(template, contexts)


def _rendered(shown: str | Unrendered) -> str:
    if isinstance(shown, Unrendered):
        raise TokenizerError(
            "the chat template",
            f"does not render the prompt ({plain_excerpt(shown.why)})",
            "write the prompt as the model expects it, and give it with --no-template",
        )
    return shown


def speech_of(release: PlacedRelease) -> Speech:
    """Raises TokenizerError for what cannot be read, ArtifactError for what was changed after the release
    was made, RuntimeUnavailable without `tokenizers`."""
    if find_spec("tokenizers") is None:
        raise RuntimeUnavailable("tokenizers is not installed; install gemma-export[run]")
    from exporter.reference.texts import load_tokenizer

    release.require_as_sealed(*SPOKEN_WITH)
    tokenizer = load_tokenizer(release.directory / TOKENIZER_NAME, COPY_AGAIN)
    directory = CheckpointDirectory(release.directory)
    special = special_names(read_tokenizer_config(directory))
    template = read_chat_template(directory)
    if (tokens := release.manifest.tokens) is not None:
        return Speech(tokenizer, tokens, template, special)
    bos, eos = (tokenizer.token_to_id(special.get(name, "")) for name in ("bos_token", "eos_token"))
    if bos is None or eos is None:
        raise UsageError(
            release.directory, "does not say which tokens begin and end a text", "export the model again"
        )
    remark = OLDER.format(name=plain_excerpt(special["eos_token"]))
    return Speech(tokenizer, TokensEntry(bos, (eos,)), template, special, (remark,))
