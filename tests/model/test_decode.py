"""JSON bodies: Go's leniency, Go's words, and nothing that breaks."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.model.containers import CreateBody, HostConfig
from dockerapi.model.decode import decode_json
from dockerapi.model.jsonsyntax import explain
from dockerapi.model.malformed import Malformed


class DecodeTests(SynchronousTestCase):
    def refused(self, body: bytes) -> str:
        return self.assertRaises(Malformed, decode_json, body, CreateBody).message

    def test_names_in_any_case_and_the_last_counts(self) -> None:
        body = b'{"image":"a","IMAGE":"b","hostconfig":{"networkMODE":"none"}}'
        decoded = decode_json(body, CreateBody)
        self.assertEqual(decoded.image, "b")
        self.assertEqual(decoded.host_config, HostConfig(network_mode="none"))

    def test_null_is_absent(self) -> None:
        body = b'{"Image":null,"Env":null,"HostConfig":{"Memory":null,"Binds":null}}'
        decoded = decode_json(body, CreateBody)
        self.assertEqual((decoded.image, decoded.host_config), ("", HostConfig()))
        self.assertEqual(decode_json(b"null", CreateBody), CreateBody())

    def test_unknown_members_are_passed_over(self) -> None:
        self.assertEqual(decode_json(b'{"New":{"a":[1]},"Image":"x"}', CreateBody).image, "x")

    def test_nulls_in_maps_stay(self) -> None:
        body = b'{"NetworkingConfig":{"EndpointsConfig":{"net":null}}}'
        networking = decode_json(body, CreateBody).networking_config
        assert networking is not None
        self.assertEqual(networking.endpoints_config, {"net": None})

    def test_what_is_no_utf8_becomes_a_replacement_character(self) -> None:
        self.assertEqual(decode_json(b'{"Image":"\xff"}', CreateBody).image, "\ufffd")

    def test_dockerds_words(self) -> None:
        for body, words in (
            (b"", "invalid JSON: EOF"),
            (b"  \n", "invalid JSON: EOF"),
            (b"{}x", "unexpected content after JSON"),
            (b"{} {}", "unexpected content after JSON"),
            (
                b"{nope",
                "invalid JSON: invalid character 'n' looking for beginning of object key string",
            ),
            (
                b'{"Image":5}',
                "invalid JSON: json: cannot unmarshal number into Go struct field .Image "
                "of type string",
            ),
            (
                b'{"HostConfig":{"Memory":"x"}}',
                "invalid JSON: json: cannot unmarshal string into Go struct field "
                ".HostConfig.Memory of type int64",
            ),
        ):
            self.assertEqual(self.refused(body), words)

    def test_numbers_past_int64(self) -> None:
        for number in (b"9223372036854775808", b"-9223372036854775809", b"1e300", b"9" * 400):
            words = self.refused(b'{"HostConfig":{"Memory":%b}}' % number)
            self.assertTrue(words.startswith("invalid JSON: "), words)
        body = b'{"HostConfig":{"Memory":9223372036854775807}}'
        host_config = decode_json(body, CreateBody).host_config
        assert host_config is not None
        self.assertEqual(host_config.memory, (1 << 63) - 1)

    def test_depth(self) -> None:
        for text in (b"[", b'{"a":'):
            self.assertIn("exceeded max depth", self.refused(text * 100_000))

    @given(st.binary(max_size=60))
    def test_garbage_is_malformed_at_most(self, body: bytes) -> None:
        try:
            decode_json(body, CreateBody)
        except Malformed as error:
            self.assertTrue(error.message)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["Image", "Cmd", "HostConfig", "Memory", "Binds", "Mounts"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        )
    )
    def test_json_of_any_shape_is_malformed_at_most(self, document: object) -> None:
        try:
            decode_json(msgspec.json.encode(document), CreateBody)
        except Malformed as error:
            self.assertTrue(error.message)


class ExplainTests(SynchronousTestCase):
    """The words were compared with those of a real dockerd."""

    def test_words(self) -> None:
        for text, words in (
            ("nope", "invalid character 'o' in literal null (expecting 'u')"),
            ("tru", "unexpected EOF"),
            ("{", "unexpected EOF"),
            ('{"a', "unexpected EOF"),
            ('{"a":', "unexpected EOF"),
            ('{"a" 1}', "invalid character '1' after object key"),
            ('{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
            ('{"]":[1 2]}', "invalid character '2' after array element"),
            ("{\"a\":'b'}", "invalid character '\\'' looking for beginning of value"),
            ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ('{"a":"\n"}', "invalid character '\\n' in string literal"),
            ('{"a":"\\q"}', "invalid character 'q' in string escape code"),
            ("[" * 100_000, "exceeded max depth"),
        ):
            self.assertEqual(explain(text.encode()), words)

    @given(st.text(alphabet='{}[]",:\\ntrue01 \x00é', max_size=30))
    def test_always_has_words(self, text: str) -> None:
        self.assertTrue(explain(text.encode()))
