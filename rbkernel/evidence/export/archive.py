"""Pure: the archive that proves: the sealed files, byte for byte, and how to verify them.

The archive is deterministic, and holds what `sha256sum` and `ssh-keygen` need: nothing of ours.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

from rbkernel.evidence import manifest
from rbkernel.evidence.manifest import Head

VERIFY = "VERIFY.md"
_CHECK = "sha256sum --check"
# a seal has no time that counts other than the one in HEADS; this is the first that zip knows
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return a zip archive of these files (name → bytes), read-only when unpacked."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100444 << 16
            archive.writestr(entry, files[name])
    return made.getvalue()


def verify_text(head: Head, *, folders: list[str], signed: bool, whole: bool) -> str:
    """Return how to verify an unpacked archive with coreutils and OpenSSH only.

    Parameters
    ----------
    head
        The newest seal of the incident.
    folders
        The runs that are in the archive.
    signed
        Whether the archive holds signatures.
    whole
        Whether all of the incident is in it; else other runs of it are not.
    """
    name = manifest.manifest_name(head.generation)
    missing = "" if whole else " --ignore-missing"
    runs = "\n".join(
        f"(cd {head.incident}/{one} && sha256sum --check SHA256SUMS)" for one in folders
    )
    others = (
        ""
        if whole
        else (
            " The manifest also lists files of the incident's other runs, which are not in this"
            " archive: `--ignore-missing` passes over them."
        )
    )
    signature = _SIGNED.format(incident=head.incident, name=name) if signed else _UNSIGNED
    return _TEXT.format(
        head=head.sha256,
        incident=head.incident,
        name=name,
        at=head.at,
        missing=missing,
        runs=runs,
        others=others,
        signature=signature,
    )


_TEXT = """# How to verify this archive

It holds sealed evidence of {incident}, byte for byte. Unpack it and run the commands in the folder
that holds this file; they need coreutils only. The last seal in it is of {at}.

1. **The files are those that the list names.** Every line must end in `OK`.

```sh
(cd {incident} && sha256sum --check{missing} {name})
{runs}
```

{others}

2. **The list is the one that was sealed.** Its hash must stand in `HEADS`:

```sh
sha256sum {incident}/{name}
grep {incident}/{name} HEADS
```

   Both must show `{head}`.

3. **Nobody wrote all of it anew.** Compare that hash with the head that was published when the
run was sealed: `rbkernel run` and `rbkernel evidence seal` print it, and it belongs into the
incident's channel or ticket. This file is no proof of it: it lies in the archive.

{signature}

With rbkernel installed, `rbkernel evidence verify {incident}` does the same, and names what changed
down to the cell. `report.html` in each run's folder is for reading; it needs only a browser.
"""

_SIGNED = """4. **Who sealed it.** With the `allowed_signers` that you got from somewhere else
than here:

```sh
ssh-keygen -Y verify -f allowed_signers -I NAME -n rbkernel \\
  -s {incident}/{name}.sig < {incident}/{name}
```"""

_UNSIGNED = "This evidence is not signed: who sealed it is not proved, only that it is unchanged."
