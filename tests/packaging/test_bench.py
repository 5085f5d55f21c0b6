"""What of the bench can be told without measuring: its figures, its picture, how it reads its options and a broker's log."""

import json
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench"))

from kser_bench import broker_log, figures, plot  # noqa: E402

RESULT = {"S4.plain_steps_per_s": 40000, "S4.plain_steps_per_s_min": 38000, "S4.plain_steps_per_s_max": 41000,
          "S4.plain_cpu_us_per_step": 40.0, "S4.plain_cpu_us_per_step_min": 39.0, "S4.plain_cpu_us_per_step_max": 42.5,
          "S4.waiting_steps_per_s": {"10000": 40000, "1000000": 20000}, "S4.waiting_cpu_us_per_step": {"10000": 40.0, "1000000": 41.0},
          "S4.pinned_steps_per_s": {str(second): 39000 for second in range(10, 90, 10)}, "S4.pinned_cpu_us_per_step": {str(second): 41.0 for second in range(10, 90, 10)}}


@pytest.mark.parametrize(("values", "share", "expected"), [([3, 1, 2], 0.5, 2), (range(1, 101), 0.99, 99), (range(1, 101), 1, 100), ([7], 0.99, 7), ([1, 2], 0, 1)])
def test_percentile(values, share, expected):
    assert figures.percentile(values, share) == expected


def test_what_was_measured_several_times_has_its_spread():
    assert figures.spread("S1.x", [3, 1, 10], 0) == {"S1.x": 3, "S1.x_min": 1, "S1.x_max": 10}
    assert repr(figures.spread("S1.x", [3, 4], 0)["S1.x"]) == "4"
    assert figures.medians([{"a": 1.0, "b": 5}, {"a": 3.0, "b": 5}, {"a": 2.25, "b": 6}]) == {"a": 2.2, "b": 5}


def test_buckets_between_two_cumulative_histograms():
    assert figures.buckets_between({"1": 5, "10": 5, "+Inf": 6}, {"1": 8, "10": 8, "+Inf": 10}) == {"1": 3, "+Inf": 1}
    assert figures.buckets_between({}, {"1": 2, "10": 2}) == {"1": 2}


def test_sections_are_known_ones():
    assert figures.sections("S1, S10,scale") == {"S1", "S10", "scale"}
    for wrong, named in (("S1,S11,bare", "S11, bare"), ("", "no section"), (" , ", "no section")):
        with pytest.raises(ValueError, match=named):
            figures.sections(wrong)
    assert figures.of_sections({"S1.a": 1, "S10.b": 2}, {"S1"}) == {"S1.a": 1}


def test_the_table_has_the_spread_behind_the_figure():
    lines = figures.table({**figures.spread("S1.steps_per_s", [40000, 50000, 60000], 0), "S10.cpu_us_per_step": {"worker": 1.5, "broker": 2}}).splitlines()
    assert [line.split(None, 1) for line in lines] == [["S1.steps_per_s", "50,000  (40,000 to 60,000)"], ["S10.cpu_us_per_step", "worker: 1.5  broker: 2  all 3.5"]]


def test_a_wrong_section_is_refused_before_anything_starts():
    done = subprocess.run(["/usr/bin/python3", ROOT / "bench" / "run", "--only", "S1,S77"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].endswith("error: --only: unknown S77") and not done.stdout


def batch(records, body):
    head = struct.pack(">qiibIhiqqqhii", 0, 49 + len(body), 0, 2, 0, 0, records - 1, 0, 0, 0, 0, 0, records)
    return head + body


def test_records_of_each_batch_of_a_broker_log(tmp_path):
    segment = tmp_path / "b.tasks-0" / "0.log"
    segment.parent.mkdir()
    (tmp_path / "b.tasks-other-0").mkdir()
    (tmp_path / "b.tasks-other-0" / "0.log").write_bytes(batch(9, b"q"))
    segment.write_bytes(batch(3, b"x" * 100))
    log = broker_log.BrokerLog(tmp_path, {"tasks": "b.tasks"})
    sizes = log.sizes()
    segment.write_bytes(segment.read_bytes() + batch(7, b"y" * 10) + batch(1, b"") + batch(5, b"not whole")[:-5])
    (segment.parent / "1.log").write_bytes(batch(2, b"z"))
    records, batches, written = log.since(sizes)["tasks"]
    assert (records, batches) == (7 + 1 + 5 + 2, 4) and written == 71 + 61 + 65 + 62


def test_the_picture_has_a_point_for_each_figure():
    picture = ElementTree.fromstring(plot.svg(RESULT))
    tag = "{http://www.w3.org/2000/svg}"
    circles = [(float(c.get("cx")), float(c.get("cy"))) for c in picture.iter(tag + "circle")]
    assert len(circles) == 2 * (2 + 8)
    assert circles[:2] == [(15.0, 30.0), (235.0, 90.0)]  # half the rate stands half as high
    words = {t.text for t in picture.iter(tag + "text")}
    assert {"steps/s", "operations scheduled for later", "1 M", "10 k", "50 k", "25 k"} <= words and "finished tasks kept" not in words


def test_the_picture_is_drawn_from_a_file(tmp_path):
    (tmp_path / "good.json").write_text(json.dumps(RESULT))
    (tmp_path / "bad.json").write_text(json.dumps({"S1.steps_per_s": 1}))
    for name, code in (("good", 0), ("bad", 1), ("none", 1)):
        done = subprocess.run([ROOT / "bench" / "plot", tmp_path / f"{name}.json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert done.returncode == code and done.stdout.startswith("<svg") == (code == 0) and len(done.stderr.splitlines()) == code, done.stderr
