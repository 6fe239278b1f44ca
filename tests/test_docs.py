"The documents tell the truth: every example runs, every public name is named, every name that is named exists."
import re
from pathlib import Path

import pytest
from helpers import ROOT, cli

import sololith

PAGES = [ROOT / "README.md", ROOT / "AGENTS.md", ROOT / "llms.txt", ROOT / ".cursorrules", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = [pytest.param(block, id=f"{page.stem}-{n}") for page in PAGES
            for n, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.S))]
API = (ROOT / "docs/api.md").read_text()

# The ledger of what plugins may rely on. Taking a name out breaks somebody's app: say so in the changelog.
PUBLIC = set("""Text Markdown Email Url File Json Tags Range Pattern Help fields_of field_of value_of schema_of labelled
    control read_form clip table DataTable store Store db Database actor cause Problem crud BaseApp rt link header head toast
    icon show markdown changed entry_item difference all_apps save_upload file_link home Workspace broadcaster
    SSEBroadcaster on_message profiles tasks notes Profile Task Note Field Choices pipeline Pipeline each progress Progress
    Run start_run artifact rows_of csv_of all_pipelines Ask ask current_model Provider Chunk remember recall slash Slash begin_turn
    note outside_servers tool Tool all_tools tool_called use use_tool Done rehearse take_back read_file fetch source_of spec_of
    patched examine Report context find_source API widget Browser Page""".split())


@pytest.mark.parametrize("source", EXAMPLES)
def test_every_example_is_a_plugin_that_loads_and_whose_assertions_hold(source, tmp_path):
    assert "from sololith import *" in source
    file = tmp_path / "example.py"
    file.write_text(source)
    done = cli("check", str(file))
    assert done.returncode == 0, done.stderr


def test_there_are_examples(): assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_exists_and_is_documented(name):
    assert hasattr(sololith, name)
    assert re.search(rf"`{name}\b", API), f"{name} is not in docs/api.md."


def test_what_the_api_page_names_exists():
    named = set(re.findall(r"^\| (.*?) \|", API, re.M))
    names = {n for cell in named for n in re.findall(r"`(\w+)", cell)}
    missing = {n for n in names if not hasattr(sololith, n)}
    assert not missing
    assert names <= PUBLIC, f"Not in the ledger: {names - PUBLIC}"


def test_public_functions_and_classes_have_a_docstring():
    bare = [n for n in PUBLIC if callable(getattr(sololith, n)) and not (getattr(sololith, n).__doc__ or "").strip()]
    assert not bare


def test_the_cli_page_lists_every_verb():
    page = (ROOT / "docs/cli.md").read_text()
    verbs = re.search(r"\{([\w,-]+)\}|VERB", cli("--help").stdout)
    assert verbs
    for verb in re.findall(r"^    (\w+) ", cli("--help").stdout, re.M):
        assert verb == "serve" or f"sololith {verb}" in page, f"docs/cli.md does not tell of {verb}."


def test_links_between_documents_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}."


def test_the_readme_shows_the_ten_lines_that_the_pages_show():
    shown = re.search(r"```python\n(.*?)```", Path(ROOT / "README.md").read_text(), re.S)
    assert shown and shown[1].strip() == sololith.EXAMPLE.strip()


def test_assistants_are_told_of_verbs_targets_and_names_that_exist():
    verbs = set(re.findall(r"^    (\w+) ", cli("--help").stdout, re.M))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in (ROOT / "AGENTS.md", ROOT / "llms.txt", ROOT / ".cursorrules"):
        text = page.read_text()
        told = set(re.findall(r"`sololith (\w+)", text))
        assert told and told <= verbs, f"{page.name} tells of {told - verbs}."
        assert set(re.findall(r"`make (\w+)`", text)) <= targets
        calls = {n for code in re.findall(r"`([^`\n]+)`", text) for n in re.findall(r"(?<![.\w])@?([a-zA-Z_]\w+)\(", code)}
        assert not (gone := {n for n in calls if not hasattr(sololith, n) and n not in ("open", "plants", "fetch")}), f"{page.name} names {gone}."


def test_the_api_that_the_model_is_given_runs(tmp_path):
    file = tmp_path / "example.py"
    file.write_text(sololith.API)
    done = cli("check", str(file))
    assert done.returncode == 0, done.stderr
