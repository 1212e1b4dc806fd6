"""The dashboard without a browser: what is collected, written and served, and what is not."""

import base64
import gzip
import http.client
import json
import re
import threading

import pytest

from taskbasis.dashboard import libraries
from taskbasis.dashboard.__main__ import main
from taskbasis.dashboard.content import details, script_json
from taskbasis.dashboard.server import Site, serve
from taskbasis.errors import ConfigError
from taskbasis.tracking.collection import Collection, flatten, varying


class TestCollection:
    def test_all_runs_are_found_and_damaged_ones_named(self, runs):
        collection = Collection([runs])
        assert len(collection.runs()) == 20
        ((path, reason),) = collection.unreadable.items()
        assert path.parent.name == "broken"
        assert reason.startswith("JSONDecodeError")

    def test_the_same_folder_twice_shows_runs_once(self, runs):
        assert len(Collection([runs, runs]).runs()) == 20

    def test_only_changed_files_are_read_again(self, make_runs, tmp_path):
        folder = make_runs(tmp_path / "runs", methods=("ae",), seeds=1)
        collection = Collection([folder])
        first, state = collection.runs(), collection.state
        again = collection.runs()
        assert all(a is b for a, b in zip(first, again, strict=True))
        assert collection.state == state
        path = folder / "run-0" / "result.json"
        path.write_text(path.read_text() + " ")
        third = collection.runs()
        assert [a is b for a, b in zip(first, third, strict=True)].count(False) == 1
        assert collection.state != state

    def test_settings_and_metrics_are_named_by_keys(self, runs):
        run = next(r for r in Collection([runs]).runs() if "-ae-M2-s1" in r.name)
        assert run.config["basis"] == "ae"
        assert run.config["M"] == 2
        assert run.config["search.points"] == 21
        assert not [key for key in run.config if "_target_" in key]
        assert run.metrics["addition/test/normalized_top1"] == pytest.approx(0.81)
        assert run.metrics["seconds"] > 0

    def test_numbers_of_unknown_protocols_are_kept(self, runs):
        assert any(value == 1.5 for r in Collection([runs]).runs() for value in r.metrics.values())

    def test_a_later_schema_is_named(self, tmp_path):
        (tmp_path / "result.json").write_text('{"schema": 2}')
        collection = Collection([tmp_path])
        assert collection.runs() == []
        assert list(collection.unreadable.values()) == ["schema 2 is not known to this version"]

    def test_flattening_and_varying(self):
        assert flatten({"a": {"b": 1, "c": [1, 2]}, "d": None}) == {"a.b": 1, "a.c": "1, 2", "d": None}
        assert varying([{"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 0}]) == ["b", "c"]


def embedded(page, name):
    return json.loads(re.search(rf'id="{name}">(.*?)</script>', page, flags=re.DOTALL)[1])


class TestReport:
    @pytest.fixture(scope="class")
    def page(self, runs, tmp_path_factory):
        path = tmp_path_factory.mktemp("report") / "report.html"
        assert main([str(runs), "--out", str(path)]) == 0
        return path.read_text()

    def test_it_holds_every_run_and_its_details(self, page, runs):
        table, packed = embedded(page, "runs-data"), embedded(page, "details-data")
        assert len(table["runs"]) == 20
        assert [entry["path"] for entry in table["unreadable"]] == ["broken"]
        run = next(r for r in Collection([runs]).runs() if r.status == "completed")
        key = next(row["key"] for row in table["runs"] if row["name"] == run.name)
        found = json.loads(gzip.decompress(base64.b64decode(packed[key])))
        assert found["merged"] == pytest.approx(details(run)["merged"])
        assert len(found["curve"]) == 21

    def test_it_asks_for_nothing_outside_itself(self, page):
        shell = re.sub(r"<(script|style)\b[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
        assert "http" not in shell.replace('http-equiv="Content-Security-Policy"', "")
        assert "default-src &#39;none&#39;" in shell
        imports = json.loads(re.search(r'<script type="importmap"[^>]*>(.*?)</script>', page)[1])["imports"]
        assert all(address.startswith("data:text/javascript;base64,") for address in imports.values())

    def test_names_cannot_become_elements(self, page):
        for name in ("runs-data", "details-data"):
            block = re.search(rf'id="{name}">(.*?)</script>', page, flags=re.DOTALL)[1]
            assert "<" not in block
        assert "<img" not in page.replace(libraries.asset("plotly.min.js"), "")

    def test_embedded_json_is_the_same_json(self):
        value = {"a": "</script><!-- &amp; \u2028", "b": [1, None, True]}
        assert json.loads(script_json(value)) == value

    def test_links_lead_from_the_report_to_the_run_folders(self, page, runs, tmp_path):
        path = tmp_path / "deeper" / "report.html"
        main([str(runs), "--out", str(path)])
        for row in embedded(path.read_text(), "runs-data")["runs"]:
            assert (path.parent / row["link"] / "result.json").is_file()

    def test_a_missing_folder_or_library_is_one_clear_error(self, tmp_path, monkeypatch):
        with pytest.raises(ConfigError, match="nowhere is not a folder"):
            main([str(tmp_path / "nowhere")])
        monkeypatch.setattr(libraries, "find_spec", lambda _: None)
        libraries.asset.cache_clear()
        with pytest.raises(ConfigError, match=r"needs itables: pip install 'taskbasis\[dashboard\]'"):
            libraries.asset("datatables.js")

    def test_no_runs_make_an_empty_page(self, tmp_path):
        (tmp_path / "runs").mkdir()
        assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "r.html")]) == 0
        assert embedded((tmp_path / "r.html").read_text(), "runs-data")["runs"] == []


class TestSite:
    @pytest.fixture
    def site(self, runs):
        return Site([runs])

    def test_it_serves_the_page_its_parts_and_the_runs(self, site):
        assert site.answer("/").kind == "text/html"
        for name in libraries.asset_names():
            assert site.answer(f"/assets/{name}").status == 200
        table = json.loads(site.answer("/runs.json").content)
        row = next(row for row in table["runs"] if row["status"] == "completed")
        assert json.loads(site.answer(f"/details/{row['key']}").content)["merged"]
        assert b"result.json" in site.answer(row["link"]).content
        assert b"nothing to see" in site.answer(row["link"] + "run.log").content

    @pytest.mark.parametrize(
        "address",
        [
            "/files/0/../../../etc/passwd",
            "/files/0/%2e%2e/%2e%2e/secret",
            "/files/0/..%2fsecret",
            "/files/0//etc/passwd",
            "/files/1/run-0/run.log",
            "/files/0/run-0/.hidden",
            "/files/0/run-0/link",
            "/files/0/run-0/%00",
            "/assets/../server.py",
            "/assets/page.html",
            "/details/nonsense",
            "/nonsense",
        ],
    )
    def test_it_serves_nothing_else(self, make_runs, tmp_path, address):
        folder = make_runs(tmp_path / "runs", methods=("ae",), seeds=1)
        (tmp_path / "secret").write_text("secret")
        (folder / "run-0" / ".hidden").write_text("secret")
        (folder / "run-0" / "link").symlink_to(tmp_path / "secret")
        answer = Site([folder]).answer(address)
        assert answer.status == 404
        assert answer.content == b"not found"

    def test_pages_among_the_files_are_only_text(self, make_runs, tmp_path):
        folder = make_runs(tmp_path / "runs", methods=("ae",), seeds=1)
        (folder / "run-0" / "x.html").write_text("<script>1</script>")
        (folder / "run-0" / "<b>.txt").write_text("")
        answer = Site([folder]).answer("/files/0/run-0/x.html")
        assert (answer.kind, answer.policy) == ("text/plain", "default-src 'none'; sandbox")
        assert b"&lt;b&gt;.txt" in Site([folder]).answer("/files/0/run-0/").content

    def test_it_listens_to_this_machine_only_and_refuses_foreign_names(self, runs):
        server = serve([runs], "127.0.0.1", 0)
        assert server.server_address[0] == "127.0.0.1"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port)

            def get(path, **headers):
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                return answer, answer.read()

            answer, _ = get("/runs.json")
            assert answer.status == 200
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert get("/runs.json", **{"If-None-Match": answer.headers["ETag"]})[0].status == 304
            assert get("/runs.json", Host="evil.example:80")[0].status == 404
            policy = get("/")[0].headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe-inline" not in policy.split("style-src")[0]
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def test_a_port_that_is_taken_is_one_clear_error(self, runs):
        server = serve([runs], "127.0.0.1", 0)
        try:
            with pytest.raises(ConfigError, match=rf"--port {server.server_port}: .*in use"):
                main([str(runs), "--port", str(server.server_port)])
        finally:
            server.server_close()
