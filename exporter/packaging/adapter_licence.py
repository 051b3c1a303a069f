"""The licence of an adapter beside its base's: its legal files are carried and what it states is named.

Merged weights are of both, so both bind: neither takes the other's place. Not about what the base's
licence asks for (`licences`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.packaging.licences import (
    NOTICE_NAME,
    LicencePack,
    copy_documents,
    is_licence,
    known_licence,
    left_out_for_size,
    stated_licence,
)


def add_adapters_licence(release: Path, pack: LicencePack, adapter: Path | None) -> LicencePack:
    """Add to NOTICE and to the pack what the directory `adapter` holds of it; None for no adapter.

    Raises CheckpointError for a legal file that is a link out of the directory.
    """
    if adapter is None:
        return pack
    directory = CheckpointDirectory(adapter)
    copied = copy_documents(directory, release, of="adapter")
    stated = stated_licence(directory, release, copied)
    if stated is None:
        note = "The adapter merged into these files states no licence of its own."
    else:
        text = next((name for name in copied if is_licence(name)), None)
        found = f"its text is in {text}" if text else "its text was not in the adapter's directory"
        note = (
            f"The adapter merged into these files is under {known_licence(stated).title}, as {stated.file} "
            f"of its directory states; {found}. Its base stays under {pack.licence.title}: both bind "
            "whoever passes these files on."
        )
    if large := left_out_for_size(directory):
        note = f"{note} {large}"
    notice = release / NOTICE_NAME
    notice.write_text(f"{notice.read_text(encoding='utf-8')}\n{note}\n", encoding="utf-8")
    return replace(pack, files=(*pack.files, *copied), notes=(*pack.notes, note))
