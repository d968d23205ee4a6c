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
# a seal has no time that counts other than the one in HEADS; this is the first that zip knows
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return a zip archive of these files (name → bytes), read-only when unpacked."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100400 << 16
            archive.writestr(entry, files[name])
    return made.getvalue()


def verify_text(head: Head, *, signed: bool, whole: bool) -> str:
    """Return how to verify an unpacked archive with coreutils and OpenSSH only.

    Parameters
    ----------
    head
        The newest seal of the incident.
    signed
        Whether a run in the archive has a signature.
    whole
        Whether all of the incident is in it; else other runs of it are not.
    """
    return _TEXT.format(
        head=head.sha256,
        incident=head.incident,
        name=manifest.manifest_name(head.generation),
        at=head.at,
        missing="" if whole else " --ignore-missing",
        others="" if whole else _OTHERS,
        signature=_SIGNED.format(incident=head.incident) if signed else _UNSIGNED,
    )


_TEXT = """# How to verify this archive

It holds sealed evidence of {incident}, byte for byte. Unpack it, go into the folder that holds
this file, and run these commands: they are those of coreutils and OpenSSH, nothing of ours. Each
ends with exit code 0 when all is well, and else names the file. The last seal is of {at}.

1. The files are those that the manifest lists, and the incident's record, which grows, begins as
   it did at the seal:

```sh
(cd {incident} && sha256sum --check --strict --quiet{missing} {name})
hash=$(sed -n 's/^# record: \\(.*\\) .*/\\1/p' {incident}/{name})
bytes=$(sed -n 's/^# record: .* //p' {incident}/{name})
[ "$(head --bytes="$bytes" {incident}/incident.jsonl | sha256sum | cut -c 1-64)" = "$hash" ]
```
{others}
2. The manifest is the one that was sealed. The first command prints `{head}`,
   and the second finds it in `HEADS`:

```sh
sha256sum {incident}/{name}
grep --quiet "^$(sha256sum < {incident}/{name} | cut -c 1-64)  {incident}/{name}  " HEADS
```

3. Nobody wrote all of it anew. Compare that hash with the head that was published when the run was
   sealed: `rbkernel run` and `rbkernel evidence seal` print it, for the incident's ticket or
   channel. What this file says is no proof of it, for it lies in the same archive.

4. {signature}

With rbkernel, `rbkernel evidence verify {incident}` checks the hashes, too, and names what was
changed down to the cell. For reading, `report.html` in each run's folder needs only a browser.
"""

_OTHERS = """
   The manifest also lists the incident's other runs, which are not in this archive:
   `--ignore-missing` passes over them.
"""

_SIGNED = """Each run was signed by whom it says. `SIGNERS` is the list of signers that was
   published elsewhere; a copy that lies in this archive proves nothing:

```sh
for run in {incident}/*/; do
  name=$(sed -n 's/^# signer: //p' "$run/SHA256SUMS")
  [ -n "$name" ] || {{ echo "$run: unsigned"; continue; }}
  ssh-keygen -Y verify -n rbkernel-evidence -I "$name" -f "$SIGNERS" \\
    -s "$run/SHA256SUMS.sig" < "$run/SHA256SUMS" || exit 1
done
```"""

_UNSIGNED = "It is not signed: that it is unchanged is proved, but not who sealed it."
