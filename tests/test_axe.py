"""axe-core finds no serious or critical violation on any page or state of scripts/shots.py, in both themes and sizes.

axe-core itself is no part of the repository: it is got once, through npm, into build/, and used only if its hash fits.
"""
import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from helpers import ROOT

from scripts import shots

pytestmark = pytest.mark.package_only  # both forms give the same pages, and this takes a minute and a half

VERSION = "4.10.3"
SHA512 = "Y6Vva0IT8gxKyqgZjlEfG76U48eXakSZ8UqY6vMQMe6xES2So8WuItGYcHi3tH1OAlMKjTWjSeN/5x2aysOXIQ=="
# Of fifty rows that are all alike, six are looked at.
RUN = """async () => (await axe.run({exclude: [".rows tbody tr:nth-child(n+7)", ".log li:nth-child(n+7)"]}, {resultTypes: ["violations"]})).violations.filter(v => ["serious", "critical"].includes(v.impact))
    .map(v => `${v.id}: ${v.help}: ` + v.nodes.slice(0, 4).map(n => n.target.join(" ") + " " + n.any.map(a => a.message).join("; ")).join(" | "))"""


@pytest.fixture(scope="module")
def axe() -> str:
    "The text of axe.min.js."
    file = ROOT / "build" / f"axe-{VERSION}.min.js"
    if not file.exists():
        with tempfile.TemporaryDirectory() as folder:
            npm = shutil.which("npm")
            assert npm, "The test needs npm, to get axe-core."
            subprocess.run([npm, "pack", "--silent", "--ignore-scripts", f"axe-core@{VERSION}"], cwd=folder, check=True, timeout=120, capture_output=True)
            with tarfile.open(Path(folder) / f"axe-core-{VERSION}.tgz") as tar:
                member = tar.extractfile("package/axe.min.js")
                assert member
                data = member.read()
        file.parent.mkdir(exist_ok=True)
        part = file.with_suffix(f".{hash(folder)}.part")
        part.write_bytes(data)
        part.replace(file)
    data = file.read_bytes()
    assert base64.b64encode(hashlib.sha512(data).digest()).decode() == SHA512, f"{file} is not axe-core {VERSION}. Delete it and try again."
    return data.decode()


@pytest.fixture(scope="module")
def filled_server(tmp_path_factory):
    with shots.filled(tmp_path_factory.mktemp("axe") / "workspace") as server: yield server


# One of each kind of page in every run; the others, and the phone, under soak.
DAILY = {"home", "list-editing-wrong", "new-dialog-wrong", "record", "import-bad", "files-csv", "palette", "problem",
         "run-asks", "run-failed", "run-compare", "chat-told", "models"}


@pytest.mark.parametrize("name", [n if n in DAILY else pytest.param(n, marks=pytest.mark.soak) for n in shots.SCENES])
@pytest.mark.parametrize("size, schemes", [("desktop", ("light", "dark")), pytest.param("phone", ("light", "dark"), marks=pytest.mark.soak)],
                         ids=["desktop", "phone"])
def test_axe_finds_nothing_serious(name, size, schemes, filled_server, browser, axe):
    context = shots.context_for(browser, filled_server, size, "light", bypass_csp=True)
    try:
        page = context.new_page()
        shots.SCENES[name](page, filled_server)
        page.evaluate(axe)
        found = []
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found += [f"{scheme}: {violation}" for violation in page.evaluate(RUN)]
        assert not found, "\n".join(found)
    finally:
        context.close()
        shots.after(name, filled_server)
