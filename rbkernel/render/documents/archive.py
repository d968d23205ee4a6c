"""Pack sealed evidence unchanged into an archive, with instructions to verify it. Pure.

The archive is deterministic. It can be verified with `sha256sum` and `ssh-keygen`, without
rbkernel.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

from rbkernel.evidence import manifest
from rbkernel.evidence.manifest import Head

VERIFY = "VERIFY.md"
# a fixed time, the earliest that zip supports: only the time in HEADS matters for a seal
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return a zip archive of these files (name → bytes); unpacked files are read-only."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100400 << 16
            archive.writestr(entry, files[name])
    return made.getvalue()


def verify_text(head: Head, *, signed: bool, whole: bool) -> str:
    """Return instructions to verify an unpacked archive with coreutils and OpenSSH only.

    Parameters
    ----------
    head
        The newest seal of the incident.
    signed
        Whether a run in the archive has a signature.
    whole
        Whether the archive contains all runs of the incident.
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
this file, and run these commands: they use only coreutils and OpenSSH. Each ends with
exit code 0 when nothing was changed; otherwise it names the file. The last seal is of {at}.

1. The files match the manifest, and the record of the incident begins as it did at the seal
   (lines may follow):

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

3. The evidence was not replaced as a whole. Compare that hash with the head that was published
   when the run was sealed: `rbkernel run` and `rbkernel evidence seal` print it, for the ticket or
   channel of the incident. A head in this archive proves nothing.

4. {signature}

With rbkernel, `rbkernel evidence verify {incident}` does the same checks and names the changed
cell. To read the evidence, open `report.html` in the folder of each run in a browser.
"""

_OTHERS = """
   The manifest also lists the incident's other runs, which are not in this archive:
   `--ignore-missing` skips them.
"""

_SIGNED = """Check who signed each run. `SIGNERS` is the list of signers that was
   published elsewhere; a copy in this archive proves nothing:

```sh
for run in {incident}/*/; do
  name=$(sed -n 's/^# signer: //p' "$run/SHA256SUMS")
  [ -n "$name" ] || {{ echo "$run: unsigned"; continue; }}
  ssh-keygen -Y verify -n rbkernel-evidence -I "$name" -f "$SIGNERS" \\
    -s "$run/SHA256SUMS.sig" < "$run/SHA256SUMS" || exit 1
done
```"""

_UNSIGNED = (
    "The evidence is not signed: these commands prove that it is unchanged, but not who sealed it."
)
