"""The domains quality is compared on: every language, code and chat of `samples/languages`, each as tokens
of its own.

Not about what is measured on them, nor about the evaluation text of an export (`texts`): no gate and no
choice of an export looks at these.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.interface import CheckpointSource
from exporter.checkpoints.tokenizer.template_rendering import Unrendered, render_each
from exporter.checkpoints.tokenizer.tokenizer_config import read_tokenizer_config, special_names
from exporter.checkpoints.tokenizer.turn_end import Turns, better, messages_of, rendered_whole
from exporter.errors import UsageError
from exporter.reference.domain_kind import DomainKind
from exporter.reference.texts import Texts, TokenisedText
from runtimes.excerpt import plain_excerpt
from runtimes.strict_json import StrictJsonError, parse_json, read_plain_file

CODE, CHAT = "code.txt", "chat.json"
CONVERSATIONS, LINES = ".json", (".jsonl", ".ndjson")  # ends of names, in any case of letters
SPEAKERS = {"user": "User", "assistant": "Assistant"}


@dataclass(frozen=True)
class Domain:
    """text: named as the domain is. remark: why a chat is not as the checkpoint's template writes it."""

    kind: DomainKind
    text: TokenisedText
    remark: str | None = None

    @property
    def name(self) -> str:
        return self.text.name


def read_domains(directory: Path, source: CheckpointSource, texts: Texts) -> tuple[Domain, ...]:
    """A domain for each .txt file of `directory`, in name order, and for its chat.json, if it has one.

    Raises UsageError where there is no domain or a conversation is none, TokenizerError for a text with a
    token that has no row in the embedding.
    """
    pieces = sorted(directory.glob("*.txt")) + sorted(directory.glob(CHAT))
    if not pieces:
        raise UsageError(directory, f"holds no .txt file and no {CHAT}", "name a directory that does")
    return tuple(read_domain(piece, source, texts) for piece in pieces)


def read_domain(path: Path, source: CheckpointSource, texts: Texts) -> Domain:
    """One file's: conversations of a .json file, text of any other. Raises as `read_domains` and
    `holds_conversations`, and UsageError for a file that is no UTF-8 text."""
    if holds_conversations(path):
        spoken, remark = _spoken(read_conversations(path), source)
        return Domain("chat", texts.tokenised(path.stem, spoken), remark)
    text = texts.tokenised(path.stem, read_plain_text(path).strip())
    return Domain("code" if path.name == CODE else "language", text)


def holds_conversations(path: Path) -> bool:
    """Whether a file's name says so. Raises UsageError for JSON line by line: taken for text, its quotes
    and escapes would be part of what codes are fitted to."""
    suffix = path.suffix.lower()
    if suffix in LINES:
        raise UsageError(
            path,
            "is JSON line by line, which is neither text nor one list of conversations",
            f"write what its lines say to a .txt, or their conversations as one list to a {CONVERSATIONS}",
        )
    return suffix == CONVERSATIONS


def read_plain_text(path: Path) -> str:
    """A file's UTF-8 text, without the mark that some editors put before it.

    Raises UsageError for anything else, also where its bytes could be UTF-8: no text has a NUL, and UTF-16
    that does not say what it is has one in every second byte.
    """
    try:
        text = read_plain_file(path).decode("utf-8-sig")
    except (OSError, StrictJsonError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(
            path, f"cannot be read as text ({plain_excerpt(why)})", "name a UTF-8 file"
        ) from error
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise UsageError(
            path, f"is no UTF-8 text: line {line} has a NUL", "name a text; save UTF-16 as UTF-8"
        )
    return text


def read_conversations(path: Path) -> tuple[Turns, ...]:
    """Role and content of every message, a conversation each. Raises UsageError for anything else."""
    try:
        found = parse_json(read_plain_file(path))
    except (OSError, StrictJsonError) as error:
        raise UsageError(path, f"cannot be read ({plain_excerpt(error)})", "mend the file") from error
    conversations = [_turns(each) for each in found] if isinstance(found, list) else []
    whole = tuple(each for each in conversations if each is not None)
    if not whole or len(whole) < len(conversations):
        place = "" if not conversations else f" {conversations.index(None) + 1}"
        raise UsageError(
            path,
            f"conversation{place}: expected a list of messages, each a role and a content, in which user "
            "and assistant take turns",
            'write [[{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}], …]',
        )
    return whole


def _turns(conversation: object) -> Turns | None:
    turns = []
    for message in conversation if isinstance(conversation, list) else ():
        match message:
            case {"role": str(role), "content": str(content)} if len(message) == 2:
                turns.append((role, content))
            case _:
                return None
    roles = tuple(role for role, _ in turns)
    return turns if turns and roles == (*SPEAKERS,) * (len(turns) // len(SPEAKERS)) else None


def _spoken(conversations: Sequence[Turns], source: CheckpointSource) -> tuple[str, str | None]:
    """All of them in one text, by the checkpoint's template, or plainly with the reason."""
    template = source.tokens.chat_template
    if template is None:
        return _plain(conversations), "The checkpoint has no chat template: chat is plain text."
    with tempfile.TemporaryDirectory() as place:
        source.write_tokenizer(Path(place))
        special = special_names(read_tokenizer_config(CheckpointDirectory(Path(place))))
    forms = [
        {**special, "bos_token": "", "messages": messages_of(turns, parts), "add_generation_prompt": False}
        for turns in conversations  # the beginning of text stands once, before all of them
        for parts in (False, True)
    ]
    shown = render_each(template, forms)
    found: list[str] = []
    for turns, strings, as_parts in zip(conversations, shown[::2], shown[1::2], strict=True):
        written = better(turns, strings, as_parts)
        if isinstance(written, Unrendered):
            why = plain_excerpt(written.why)
            return _plain(
                conversations
            ), f"The chat template does not render chat ({why}): it is plain text."
        if not rendered_whole(turns, written):
            return _plain(conversations), "The chat template leaves out messages: chat is plain text."
        found.append(written)
    return "".join(found), None


def _plain(conversations: Sequence[Turns]) -> str:
    return "\n\n".join(f"{SPEAKERS[role]}: {content}" for turns in conversations for role, content in turns)
