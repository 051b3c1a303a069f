"""What can go wrong when a release is opened or run.

RuntimesError
├── ManifestError        manifest.json is absent, damaged, or of another schema version
├── RecordedCallsError   recorded_calls.json is damaged, of another schema version, or of another release
├── RuntimeUnavailable   the vendor runtime of a driver is not installed (or not for this system)
├── ArtifactError        the artifact's bytes are damaged or are not what the manifest says
├── BeyondAdapter        this machine's adapter cannot do it: no fp16, a buffer larger than it takes
├── ExecutionFailed      a process that ran the artifact crashed, hung, or gave nothing
├── SessionError         a call the session cannot serve: context exceeded, token out of range
│   └── NoRoomForCall    what is given would fit, and the call it has to be given in does not
├── EncoderError         inputs the encoder does not take: another name, shape or dtype
├── ProcessingError      image_processing.json or sound_processing.json is absent, damaged, or of another
│                        schema version
├── PictureError         a file that is no picture, is damaged, or shows more than is taken
└── SoundError           a file that is no sound, is damaged, or lasts longer than is taken
"""

from __future__ import annotations


class RuntimesError(Exception):
    """Base of this package's errors. The message says where, what, and what to do next."""


class ManifestError(RuntimesError):
    """A manifest that cannot be read, or that names another schema version."""


class RecordedCallsError(RuntimesError):
    """Recorded calls that cannot be read, or that are not about their release."""


class RuntimeUnavailable(RuntimesError):
    """The vendor runtime a driver needs is not installed here."""


class ArtifactError(RuntimesError):
    """An artifact whose bytes are damaged, or that holds something its driver does not know."""


class BeyondAdapter(RuntimesError):
    """What this machine's adapter cannot do. It says nothing of the artifact."""


class ExecutionFailed(RuntimesError):
    """A process that ran the artifact crashed, hung, or gave nothing; with what it printed last."""


class SessionError(RuntimesError):
    """A call the session cannot serve."""


class NoRoomForCall(SessionError):
    """What is given would fit into the context, and the call it has to be given in, which is longer, does
    not."""


class EncoderError(RuntimesError):
    """Inputs the encoder does not take."""


class ProcessingError(RuntimesError):
    """A description of what is done to pictures or sounds that cannot be read or followed."""


class PictureError(RuntimesError):
    """A picture that cannot be read, or read as it was meant."""


class SoundError(RuntimesError):
    """A sound that cannot be read, or is longer or shorter than a model hears."""
