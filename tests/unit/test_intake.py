"""The five senders' bodies: the documented ones, the odd ones, and what is no alert at all."""

from __future__ import annotations

import gzip
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbkernel.errors import TooLarge, Unreadable
from rbkernel.evidence.incident import AlertStatus
from rbkernel.gateway import intake
from rbkernel.gateway.intake import limits
from rbkernel.gateway.intake.fields import Reading
from rbkernel.gateway.jobs.alert import Alert

CORPUS = Path(__file__).parents[1] / "corpora" / "deliveries"
NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)
LAG = {
    "alertname": "PostgresReplicationLag",
    "cluster": "orders",
    "application_name": "standby1",
    "severity": "critical",
}


def read(source: str, value: Any) -> Reading:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return intake.read(source, body, NOW, most_alerts=100)


def alerts(name: str) -> tuple[Alert, ...]:
    reading = read(name.partition("-")[0], (CORPUS / f"{name}.json").read_bytes())
    assert not reading.problems
    return reading.delivery.alerts


class TestAlertmanager:
    def test_the_documented_body(self) -> None:
        firing, resolved = alerts("alertmanager")
        assert firing == Alert(
            source="alertmanager",
            group_key='{}:{alertname="PostgresReplicationLag"}',
            fingerprint="a3c1f0d2b4e59687",
            status=AlertStatus.FIRING,
            starts_at=datetime(2026, 11, 20, 2, 0, 26, 739266, UTC),
            labels=LAG,
            annotations={
                "summary": "standby1 is 42 s behind",
                "runbook_url": "https://runbooks.example.org/RUN-005",
            },
            url="http://prometheus.example.org:9090/graph?g0.expr=pg_replication_lag+%3E+15&g0.tab=1",
        )
        assert resolved.status is AlertStatus.RESOLVED
        assert resolved.ends_at == datetime(2026, 11, 20, 2, 58, 30, 500_000, UTC)

    def test_what_is_odd_and_real(self) -> None:
        future, never_seen, bare = alerts("alertmanager-odd")
        assert future.starts_at.year == 2031
        assert future.ends_at is None  # it fires: when that will be told anew is no end
        assert never_seen.status is AlertStatus.RESOLVED
        assert never_seen.ends_at is None  # the year 1 is no time
        assert never_seen.starts_at.isoformat() == "0001-01-01T00:00:00+00:00"
        assert len(bare.fingerprint) == 16
        assert bare.labels == {
            "alertname": "WithoutFingerprint",
            "n": "3",
            "yes": "true",
            "nul": "a\N{REPLACEMENT CHARACTER}b",
        }
        assert bare.starts_at == datetime(2026, 11, 20, 3, tzinfo=UTC)

    def test_its_own_fingerprint_is_who_it_is(self) -> None:
        body = json.loads((CORPUS / "alertmanager.json").read_bytes())
        [firing] = [one for one in body["alerts"] if one["status"] == "firing"]
        well = firing | {"status": "resolved", "labels": {**firing["labels"], "severity": "ok"}}
        one, other = read("alertmanager", body | {"alerts": [firing, well]}).delivery.alerts
        assert one.thread == other.thread

    def test_what_the_sender_left_out_is_counted(self) -> None:
        body = (CORPUS / "alertmanager-odd.json").read_bytes()
        assert read("alertmanager", body).delivery.truncated == 7

    def test_one_that_cannot_be_read_does_not_hide_the_others(self) -> None:
        body = json.loads((CORPUS / "alertmanager.json").read_bytes())
        body["alerts"][0]["startsAt"] = "yesterday SECRET"
        reading = read("alertmanager", body)
        assert [alert.status for alert in reading.delivery.alerts] == [AlertStatus.RESOLVED]
        [problem] = reading.problems
        assert problem.startswith("alerts[0]: startsAt")
        assert "SECRET" not in problem

    def test_when_none_can_be_read_nothing_is_said_to_be(self) -> None:
        with pytest.raises(Unreadable, match=r"alerts\[0\]: startsAt.*and 3 more"):
            read("alertmanager", {"alerts": [{"status": "firing", "labels": {}}] * 8})

    def test_a_body_without_alerts_tells_of_none(self) -> None:
        assert read("alertmanager", {"alerts": []}).delivery.alerts == ()


def test_grafanas_values_and_links_are_annotations() -> None:
    [alert] = alerts("grafana")
    assert alert.source == "grafana"
    assert alert.starts_at == datetime(2026, 10, 12, 7, 51, 3, 157076, UTC)
    assert alert.annotations["values"].startswith("[ var='B'")
    assert alert.annotations["panel"] == "https://grafana.example.org/d/abc?viewPanel=1"
    assert alert.annotations["summary"] == "This alert was triggered for zone us-1"


class TestPagerDuty:
    def test_an_incident_is_an_alert(self) -> None:
        [alert] = alerts("pagerduty-triggered")
        assert (alert.group_key, alert.fingerprint) == ("PGR0VU2", "PGR0VU2")
        assert alert.starts_at == datetime(2026, 11, 20, 3, 1, 2, tzinfo=UTC)
        assert alert.labels == {
            "alertname": "[FIRING:1] PostgresReplicationLag orders",
            "service": "Orders",
            "severity": "high",
            "priority": "P1",
            "urgency": "high",
            "incident_number": "2",
            "incident_key": "d3640fbd41094207a1c11e58e46b1662",
        }

    def test_a_later_event_tells_of_the_same_alert(self) -> None:
        [triggered], [acknowledged] = (
            alerts("pagerduty-triggered"),
            alerts("pagerduty-acknowledged"),
        )
        assert triggered.identity == acknowledged.identity

    def test_the_end_belongs_to_the_beginning(self) -> None:
        [triggered], [resolved] = alerts("pagerduty-triggered"), alerts("pagerduty-resolved")
        assert resolved.status is AlertStatus.RESOLVED
        assert resolved.ends_at == datetime(2026, 11, 20, 3, 20, tzinfo=UTC)
        assert resolved.thread == triggered.thread
        assert resolved.identity != triggered.identity

    def test_the_end_belongs_to_the_beginning_whatever_else_has_changed(self) -> None:
        body = json.loads((CORPUS / "pagerduty-resolved.json").read_bytes())
        body["event"]["data"] |= {"title": "all is well", "urgency": "low", "priority": None}
        [resolved] = read("pagerduty", body).delivery.alerts
        assert resolved.thread == alerts("pagerduty-triggered")[0].thread

    def test_opened_again_it_is_new_and_so_is_its_second_end(self) -> None:
        [triggered], [reopened] = alerts("pagerduty-triggered"), alerts("pagerduty-reopened")
        assert reopened.status is AlertStatus.FIRING
        assert reopened.identity != triggered.identity
        body = json.loads((CORPUS / "pagerduty-resolved.json").read_bytes())
        body["event"]["occurred_at"] = "2026-11-20T04:00:00Z"
        [again] = read("pagerduty", body).delivery.alerts
        assert again.identity != alerts("pagerduty-resolved")[0].identity

    def test_a_ping_tells_of_none(self) -> None:
        assert alerts("pagerduty-ping") == ()

    def test_a_note_on_what_is_resolved_does_not_end_it_twice(self) -> None:
        body = json.loads((CORPUS / "pagerduty-resolved.json").read_bytes())
        body["event"]["event_type"] = "incident.priority_updated"
        assert read("pagerduty", body).delivery.alerts == ()

    @pytest.mark.parametrize(
        "kind", ["incident.annotated", "incident.workflow.started", "service.updated"]
    )
    def test_what_tells_of_no_alert_is_acknowledged(self, kind: str) -> None:
        body = json.loads((CORPUS / "pagerduty-triggered.json").read_bytes())
        body["event"]["event_type"] = kind  # whatever its data are
        assert read("pagerduty", body).delivery.alerts == ()

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"event_type": "incident.weird"}, "is unknown"),
            ({"data": None}, "not an incident"),
            ({"data": {"type": "service", "id": "P1"}}, "not an incident"),
        ],
    )
    def test_what_may_tell_of_an_alert_is_not_taken_for_nothing(
        self, fields: dict[str, Any], words: str
    ) -> None:
        body = json.loads((CORPUS / "pagerduty-triggered.json").read_bytes())
        body["event"] |= fields
        with pytest.raises(Unreadable, match=words):
            read("pagerduty", body)


class TestDatadog:
    def test_our_template(self) -> None:
        [alert] = alerts("datadog")
        assert alert.name == "Replication lag is high"
        assert alert.labels["cluster"] == "orders"
        assert alert.labels["monitor"] == "true"
        assert alert.labels["severity"] == "high"
        assert alert.annotations["description"] == "@webhook-rbkernel lag above 15 s"
        assert alert.starts_at == datetime(2014, 7, 29, 19, 37, 52, tzinfo=UTC)

    def test_the_end_belongs_to_the_beginning(self) -> None:
        [triggered], [recovered] = alerts("datadog"), alerts("datadog-recovered")
        assert recovered.status is AlertStatus.RESOLVED
        assert recovered.thread == triggered.thread
        assert recovered.identity != triggered.identity
        assert recovered.url == ""  # a variable that Datadog did not fill

    def test_the_end_belongs_to_the_beginning_whatever_else_has_changed(self) -> None:
        body = json.loads((CORPUS / "datadog-recovered.json").read_bytes())
        body |= {"tags": "other:1", "priority": "P5", "aggregate": "", "alert_title": "well"}
        [recovered] = read("datadog", body).delivery.alerts
        assert recovered.thread == alerts("datadog")[0].thread

    def test_a_notification_that_is_sent_again_is_no_new_alert(self) -> None:
        body = json.loads((CORPUS / "datadog.json").read_bytes())
        [first] = read("datadog", body).delivery.alerts
        [again] = read(
            "datadog", {**body, "transition": "Re-Triggered", "date": "1406670000000"}
        ).delivery.alerts
        [warning] = read("datadog", {**body, "transition": "Warn"}).delivery.alerts
        assert again.identity == first.identity
        assert warning.identity != first.identity

    def test_its_own_payload(self) -> None:
        [alert] = alerts("datadog-usual")
        assert (alert.name, alert.status) == ("Replication lag is high", AlertStatus.FIRING)

    def test_only_datadogs_own_key_groups(self) -> None:
        body = json.loads((CORPUS / "datadog.json").read_bytes())
        [alert] = read("datadog", {**body, "aggregate": ""}).delivery.alerts
        assert alert.group_key == ""

    def test_tags_do_not_decide_what_it_is(self) -> None:
        body = json.loads((CORPUS / "datadog.json").read_bytes())
        body["tags"] = "alertname:Other,severity:low"
        [alert] = read("datadog", body).delivery.alerts
        assert (alert.name, alert.labels["severity"]) == ("Replication lag is high", "high")


class TestGeneric:
    def test_one(self) -> None:
        [alert] = alerts("generic")
        assert alert.labels == {
            "alertname": "NightlyExportFailed",
            "service": "export",
            "severity": "warning",
        }
        assert alert.annotations == {"summary": "the nightly export did not end"}
        assert alert.group_key == ""

    def test_an_id_makes_it_one_firing_whenever_it_is_told(self) -> None:
        body = json.loads((CORPUS / "generic.json").read_bytes())
        [first] = read("generic", body).delivery.alerts
        [again] = read("generic", {**body, "starts_at": None}).delivery.alerts
        [resolved] = read("generic", {**body, "status": "resolved"}).delivery.alerts
        assert again.identity == first.identity
        assert resolved.thread == first.thread

    def test_an_id_is_who_it_is_whatever_else_has_changed(self) -> None:
        body = json.loads((CORPUS / "generic.json").read_bytes()) | {"id": "exports/1"}
        [first] = read("generic", {**body, "group_key": "exports"}).delivery.alerts
        worse = body | {"labels": {"severity": "critical"}}
        [raised] = read("generic", worse).delivery.alerts
        well = body | {"status": "resolved", "labels": {"severity": "ok"}, "starts_at": None}
        [resolved] = read("generic", well).delivery.alerts
        assert resolved.thread == raised.thread == first.thread
        assert resolved.fingerprint == first.fingerprint
        assert raised.identity != first.identity
        [other] = read("generic", {**body, "id": "exports/2"}).delivery.alerts
        assert other.thread != first.thread

    def test_several(self) -> None:
        first, second = alerts("generic-several")
        assert first.starts_at == datetime(2026, 11, 21, 6, tzinfo=UTC)
        assert second.status is AlertStatus.RESOLVED
        assert {first.group_key, second.group_key} == {"export"}

    def test_a_field_that_nobody_knows_is_named_and_loses_nothing(self) -> None:
        reading = read("generic", {"name": "X", "lables": {"service": "shop"}})
        [alert] = reading.delivery.alerts
        assert reading.ignored == alert.annotations["ignored"] == "lables"
        several = read("generic", {"alerts": [{"name": "X"}], "groupkey": "g"})
        assert several.ignored == "groupkey"
        assert not read("generic", {"name": "X", "summary": "s"}).ignored

    def test_a_name_is_needed(self) -> None:
        with pytest.raises(Unreadable, match="neither a name nor a label alertname"):
            read("generic", {"labels": {"severity": "low"}})


@pytest.mark.parametrize("source", list(intake.SENDERS))
class TestWhatIsNoAlert:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"null",
            b"[]",
            b"3",
            b'"text"',
            b"\xff\xfe",
            b'{"alerts": [NaN]}',
            b'{"alerts": {}}',
            b'{"alerts": [[[]]]}',
            b'{"alerts": [null]}',
            b'{"event": {}}',
            b'{"event": {"event_type": "x", "occurred_at": "soon", "data": []}}',
            b'{"a": "\\ud800"}',
            b'{"a": ' + b"9" * 5_000 + b"}",
            b'{"alerts": [{"startsAt": ' + b"9" * 400 + b', "status": "firing", "labels": {}}]}',
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"--boundary\r\nContent-Disposition: form-data",
            b"payload=%7B%7D",
        ],
        ids=lambda body: repr(body[:20]),
    )
    def test_is_unreadable_and_not_quoted(self, source: str, body: bytes) -> None:
        with pytest.raises(Unreadable) as caught:
            read(source, body)
        assert caught.value.what
        assert len(caught.value.what) < 400

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b" \n", "the body is empty"),
            (b"[1, 2]", "the body is not a JSON object"),
            (b"{'a': 1}", "the body is not JSON: line 1 column 2"),
            (b"{}", ""),
            (b'{"alerts": [{"name": "X", "status": "firing"}], "alerts": []}', "a duplicate key"),
        ],
    )
    def test_is_told_in_words_of_ours(self, source: str, body: bytes, words: str) -> None:
        with pytest.raises(Unreadable) as caught:
            read(source, body)
        assert words in caught.value.what
        assert "Input" not in caught.value.what

    def test_more_alerts_than_are_read(self, source: str) -> None:
        with pytest.raises(Unreadable, match="the limit is 100"):
            read(source, {"alerts": [{}] * 101})

    def test_unknown_fields_are_tolerated(self, source: str) -> None:
        body = json.loads((CORPUS / f"{_example(source)}.json").read_bytes())
        body["tomorrow"] = {"deep": [[[]]]}
        assert len(read(source, body).delivery.alerts) == len(alerts(_example(source)))

    def test_a_byte_order_mark_is_nothing(self, source: str) -> None:
        body = b"\xef\xbb\xbf" + (CORPUS / f"{_example(source)}.json").read_bytes()
        assert read(source, body).delivery.alerts == alerts(_example(source))


def _example(source: str) -> str:
    return {"pagerduty": "pagerduty-triggered"}.get(source, source)


class TestUnpacking:
    def test_a_bomb_is_never_unpacked(self) -> None:
        bomb = gzip.compress(b"0" * 50_000_000, mtime=0)
        with pytest.raises(TooLarge):
            limits.unpack(bomb, "gzip", 1_000_000)

    @pytest.mark.parametrize(
        ("body", "encoding"),
        [
            (b"{}", "gzip"),
            (gzip.compress(b"{}", mtime=0)[:-4], "gzip"),
            (gzip.compress(b"{}", mtime=0) + b"more", "gzip"),
            (b"{}", "br"),
            (b"{}", "gzip, gzip"),
        ],
    )
    def test_what_is_not_as_its_header_says(self, body: bytes, encoding: str) -> None:
        with pytest.raises(Unreadable):
            limits.unpack(body, encoding, 100)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
_field = st.sampled_from(
    re.findall(
        r"\w+",
        """alerts status labels annotations startsAt endsAt fingerprint event data type id title
        created_at occurred_at date tags cycle name starts_at groupKey
        truncatedAlerts transition""",
    )
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    source=st.sampled_from(sorted(intake.SENDERS)),
    value=st.dictionaries(_field, _json | st.dictionaries(_field, _json), max_size=6),
)
def test_whatever_is_sent_is_read_or_refused(source: str, value: Any) -> None:
    try:
        reading = read(source, value)
    except Unreadable:
        return
    for alert in reading.delivery.alerts:
        assert Alert.from_json(json.loads(json.dumps(alert.to_json()))) == alert
        assert len(alert.identity) == len(alert.thread) == 64
