"""Tests of what needs neither packages nor the network: `python3 -m unittest discover models/keyword/tests`."""

import shutil
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import card
import near
import own
from keywords import KEYWORDS

FIGURES = {
    "positives": 400, "hours": 5.33, "false_rejects": 0.0425, "false_accepts_per_hour": 0.38, "near_misses_accepted": 0.1,
    "by_condition": {"clean": 0.0, "tv": 0.11}, "by_voice": {"espeak-ng": 0.04}, "by_kind": {"talk": 0.62, "tv": 0.0},
    "of_these": ["hey martin"], "at": {"threshold 0.5, patience 1": [0.0425, 0.38]},
}


class Own(unittest.TestCase):
    def test_a_phrase_names_its_files(self):
        self.assertEqual(own.phrase_of("  Hey   Marvin "), "hey marvin")
        self.assertEqual(own.name_of("hey o'brien"), "hey_obrien")

    def test_what_is_not_said_in_english_letters_is_refused(self):
        for text in ("", "r2d2", "héllo", "one two three four five", "../../etc"):
            with self.assertRaises(SystemExit) as end:
                own.phrase_of(text)
            self.assertEqual(end.exception.code, 2, text)

    def test_the_keywords_that_are_shipped_keep_what_they_are_judged_with_apart(self):
        for keyword in KEYWORDS.values():
            self.assertFalse(set(keyword.near) & set(keyword.unheard), keyword.name)
            self.assertFalse(set(keyword.phrases) & {*keyword.near, *keyword.unheard}, keyword.name)


class Near(unittest.TestCase):
    def test_a_sound_of_the_same_kind_is_nearer_than_another(self):
        marvin = near.phones("m_ˈɑː\u200dɹ_v_ɪ_n")
        self.assertEqual(near.distance(marvin, marvin), 0)
        nearer, further = (near.distance(marvin, near.phones(f"{sound}_ˈɑː\u200dɹ_v_ɪ_n")) for sound in "ns")
        self.assertLess(nearer, further)

    def test_a_name_in_another_spelling_is_no_near_miss(self):
        lexicon = {"marven": ["m", "ɑɹ", "v", "ə", "n"], "martin": ["m", "ɑɹ", "t", "ɪ", "n"]}
        self.assertEqual(near.nearest(["m", "ɑɹ", "v", "ɪ", "n"], lexicon, 9), ["martin"])

    @unittest.skipUnless(shutil.which("espeak-ng"), "espeak-ng is not installed")
    def test_near_misses_sound_like_the_phrase_and_do_not_hold_it(self):
        lexicon = near.spoken(["martin", "marvel", "say", "hay", "hey", "garden", "table"])
        found = near.misses("hey marvin", lexicon)
        for text in ("hey martin", "say marvin", "marvin", "hey marvi", "ey marvin"):
            self.assertIn(text, found)
        for text in ("hey marvin", "hay marvin"):
            self.assertNotIn(text, found)


class Card(unittest.TestCase):
    def test_a_card_has_the_figures_and_how_to_use_it(self):
        text = card.card("hey marvin", "hey_marvin", FIGURES, {"clips": "6,000"}, "abc")
        for part in (
            "| missed, all (400 recordings) | 4.2 % |", "| false alarms an hour (5.3 h) | 0.38 |", "“hey martin”",
            "| clips | 6,000 |", "SHA-256: `abc`",
            '{ model = "/var/lib/gemmad/models/hey_marvin.onnx", means = "wake", threshold = 0.5, patience = 1 },',
        ):
            self.assertIn(part, text)


if __name__ == "__main__":
    unittest.main()
