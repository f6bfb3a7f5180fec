"""Options of log drivers: names at creation, values at the start, with dockerd's texts."""

from __future__ import annotations

from urllib.parse import quote_plus

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.logs.options import (
    attributes,
    check_options,
    details,
    policy_of,
    with_default,
)
from dockerapi.local.containers.logs.spool.rotation import Policy
from dockerapi.local.containers.logs.values import parse_size
from dockerapi.model.containers import ContainerConfig, HostConfig, LogConfig

#: Options that dockerd refuses at the creation, with the words for each.
REFUSED: tuple[tuple[str, dict[str, str], str], ...] = (
    ("json-file", {"foo": "bar"}, "unknown log opt 'foo' for json-file log driver"),
    ("", {"foo": "bar"}, "unknown log opt 'foo' for json-file log driver"),
    ("local", {"labels": "x"}, "unknown log opt 'labels' for log driver local"),
    ("syslog", {"a": "1"}, "unknown log opt 'a' for syslog log driver"),
    ("syslog", {"syslog-format": "x"}, "Invalid syslog format"),
    ("syslog", {"syslog-facility": "x"}, "invalid syslog facility"),
    (
        "syslog",
        {"syslog-address": "ftp://a"},
        "syslog-address should be in form proto://address, got ftp://a",
    ),
    (
        "syslog",
        {"syslog-address": "tcp://127.0.0.1:x"},
        'parse "tcp://127.0.0.1:x": invalid port ":x" after host',
    ),
    ("gelf", {}, "gelf-address is a required parameter"),
    (
        "gelf",
        {"gelf-address": "udp://x"},
        "gelf: please provide gelf-address as proto://host:port",
    ),
    (
        "gelf",
        {"gelf-address": "tcp://x:1", "gelf-compression-type": "gzip"},
        "compression is only supported on UDP",
    ),
    ("gelf", {"foo": "x"}, 'unknown log opt "foo" for gelf log driver'),
    ("fluentd", {"cache-disabled": "x"}, "invalid value for option cache-disabled: x"),
    (
        "fluentd",
        {"fluentd-address": "http://x"},
        'invalid fluentd-address http://x: strconv.Atoi: parsing "//x": invalid syntax',
    ),
    (
        "fluentd",
        {"fluentd-max-retries": "x"},
        'strconv.ParseUint: parsing "x": invalid syntax',
    ),
    ("journald", {"foo": "x"}, "unknown log opt 'foo' for journald log driver"),
    ("nope", {}, 'error looking up logging plugin nope: plugin "nope" not found'),
    ("local", {"mode": "junk"}, "logger: logging mode not supported: junk"),
    (
        "json-file",
        {"max-buffer-size": "4m"},
        "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
    ),
    (
        "json-file",
        {"mode": "non-blocking", "max-buffer-size": "junk"},
        "error parsing option max-buffer-size: invalid size: 'junk'",
    ),
)


def message(call: object, *arguments: object) -> str:
    assert callable(call)
    try:
        call(*arguments)
    except EngineError as error:
        return error.message
    return ""


def container(log: LogConfig, **config: object) -> Container:
    return Container(
        id="1f" * 32,
        name="cx",
        created_at=0,
        owner="",
        image="sha256:" + "ab" * 32,
        body=b"",
        config=ContainerConfig(**config),  # type: ignore[arg-type]
        host_config=HostConfig(log_config=log),
    )


class NamesTests(SynchronousTestCase):
    def test_what_dockerd_takes(self) -> None:
        for config in (
            LogConfig(),
            LogConfig("none", {"a": "b"}),
            LogConfig("local", {"max-size": "1m", "mode": "blocking"}),
            LogConfig("json-file", {"max-size": "junk", "cache-disabled": "true"}),
            LogConfig("", {"mode": "non-blocking", "max-buffer-size": "4m"}),
        ):
            check_options(config)

    def test_what_dockerd_refuses(self) -> None:
        for driver, options, text in REFUSED:
            self.assertRaises(InvalidParameter, check_options, LogConfig(driver, options))
            self.assertEqual(message(check_options, LogConfig(driver, options)), text)

    def test_defaults(self) -> None:
        default = LogConfig("json-file", {"max-size": "1m", "max-file": "2"})
        self.assertEqual(
            with_default(LogConfig("", {"max-file": "3"}), default),
            LogConfig("json-file", {"max-size": "1m", "max-file": "3"}),
        )
        self.assertEqual(with_default(LogConfig("local"), default), LogConfig("local", {}))
        self.assertEqual(with_default(LogConfig(), LogConfig()), LogConfig("json-file", {}))


class ValuesTests(SynchronousTestCase):
    def test_policies(self) -> None:
        for driver, options, policy in (
            ("json-file", {}, Policy(None, 1, False)),
            ("json-file", {"max-file": "2"}, Policy(None, 2, False)),
            ("json-file", {"max-size": "10k", "max-file": "+3"}, Policy(10_000, 3, False)),
            (
                "json-file",
                {"max-size": "1.5m", "max-file": "2", "compress": "T"},
                Policy(1_500_000, 2, True),
            ),
            ("local", {}, Policy(20 * 1024 * 1024, 5, True)),
            ("local", {"max-file": "1", "compress": "0"}, Policy(20 * 1024 * 1024, 1, False)),
            ("local", {"max-size": "0"}, Policy(None, 5, True)),
        ):
            self.assertEqual(policy_of(LogConfig(driver, options)), policy)

    def test_what_dockerd_refuses(self) -> None:
        both = "compress cannot be true when max-file is less than 2 or max-size is not set"
        for driver, options, text in (
            ("json-file", {"max-size": "abc"}, "invalid size: 'abc'"),
            ("json-file", {"max-size": ""}, "invalid size: ''"),
            ("json-file", {"max-size": "-1"}, "invalid size: '-1'"),
            ("json-file", {"max-size": "0"}, "max-size must be a positive number"),
            ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
            ("json-file", {"max-file": "x"}, 'strconv.Atoi: parsing "x": invalid syntax'),
            ("json-file", {"compress": "x"}, 'strconv.ParseBool: parsing "x": invalid syntax'),
            ("json-file", {"compress": "true"}, both),
            ("json-file", {"compress": "true", "max-size": "1k"}, both),
            ("local", {"max-size": "x"}, "invalid value for max-size: x: invalid size: 'x'"),
            (
                "local",
                {"max-file": "x"},
                'invalid value for max-file: x: strconv.Atoi: parsing "x": invalid syntax',
            ),
            ("local", {"max-file": "-1"}, "max file count cannot be less than 0"),
            ("local", {"max-file": "0"}, "compression cannot be enabled when max file count is 1"),
            (
                "local",
                {"compress": "x"},
                'error reading compress log option: strconv.ParseBool: parsing "x": invalid syntax',
            ),
        ):
            self.assertEqual(message(policy_of, LogConfig(driver, options)), text)

    def test_sizes(self) -> None:
        for text, size in (
            ("10", 10),
            ("10b", 10),
            ("10k", 10_000),
            ("10KiB", 10_000),
            ("10 mb", 10_000_000),
            (".5m", 500_000),
            ("1t", 10**12),
        ):
            self.assertEqual(parse_size(text), size)
        for text in ("10q", "10kk", "10kxb", "k", "1.2.3", "--1"):
            self.assertRaises(ValueError, parse_size, text)

    @given(st.text(max_size=8))
    def test_any_text_is_a_size_or_refused(self, text: str) -> None:
        try:
            self.assertGreaterEqual(parse_size(text), 0)
        except ValueError as error:
            self.assertTrue(str(error))


class DetailsTests(SynchronousTestCase):
    def test_labels_environment_and_tag(self) -> None:
        options = {"labels": "a,bb,no", "env": "X", "env-regex": "^XZ", "tag": "{{.Name}}-1"}
        one = container(
            LogConfig("json-file", options),
            labels={"a": "1", "bb": "2", "c": "3"},
            env=["X=y", "XZ=q,=w", "Y=1"],
        )
        self.assertEqual(attributes(one), {"a": "1", "bb": "2", "X": "y", "XZ": "q,=w"})
        self.assertEqual(details(one), b"X=y,XZ=q%2C%3Dw,a=1,bb=2,tag=cx-1")

    def test_nothing_chosen(self) -> None:
        self.assertEqual(details(container(LogConfig("json-file", {}), labels={"a": "1"})), b"")
        self.assertEqual(details(container(LogConfig("local", {"labels": "a"}))), b"")

    def test_tags(self) -> None:
        for template, tag in (
            ("{{ .ID }}/{{.FullID}}", "1f" * 6 + "/" + "1f" * 32),
            ("{{.ImageID}}", "ab" * 6),
            ("{{.ImageName}}", "busybox"),
            ("plain", "plain"),
        ):
            one = container(LogConfig("json-file", {"tag": template}), image="busybox")
            self.assertEqual(details(one), f"tag={quote_plus(tag)}".encode())

    def test_what_is_refused(self) -> None:
        for options, text in (
            ({"tag": "{{.Foo"}, "template: log-tag:1: unclosed action"),
            (
                {"tag": "{{.Foo}}"},
                'template: log-tag:1:2: executing "log-tag" at <.Foo>: '
                "can't evaluate field Foo in type *logger.Info",
            ),
        ):
            one = container(LogConfig("json-file", options))
            self.assertEqual(message(details, one), text)
        for option in ("env-regex", "labels-regex"):
            one = container(LogConfig("json-file", {option: "("}), labels={"a": "1"})
            self.assertIn("error parsing regexp: ", message(attributes, one))
