"""Keywords: what is said, what sounds like it, and which windows have to fire."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Keyword:
    """One keyword, as `data.py`, `train.py` and `evaluate.py` need it."""

    name: str  # of its files
    phrases: dict  # how it may be said, and how often each
    near: list  # what sounds like it, to be trained on
    unheard: list  # what sounds like it, to be judged with only
    fire: tuple  # where the windows are that have to fire, in seconds after the phrase's end
    border: float  # nothing is asked of windows nearer than this before the phrase's end, in seconds,
    over: float  # nor of those up to this after it, in seconds
    span: int  # the last embeddings of a window that are looked at, of 16
    avoid: re.Pattern  # what no other sentence may contain
    aim: float  # false accepts an hour that are aimed at, over the speech kept aside
    patience: int = 1  # windows in a row that have to reach the threshold


ENDING = re.compile(r"\b(stop|halt)")
SHIPPED = [
    Keyword(
        name="hey_gemma", phrases={"hey gemma": 1}, fire=(-0.02, 0.46), border=0.12, over=1.0, span=16, avoid=ENDING, aim=0.4,
        near=(
            "hey|gemma|hey emma|hey jenna|hey jimmy|gamma|hey gamma|hey siri|hey google|okay gemma|hey mama|hay jammer|say gemma|"
            "they gemmed|hey jenny|hey german|hey general|hey jemima|hey james|hey jen|hey jam|hey gem|a gem|a dilemma|hey anna|"
            "hey alexa|hey jarvis|hey robot|hey gary|hey there|hey you|hey mister|hey gentlemen|hey jessica|the hedge|hey ella|"
            "hey drama|hey comma|hey zelda|stage emma|stratagem|hey jet|engage mother|page a member|gemma said hello|"
            "where is gemma|"
            "I saw gemma yesterday|gemma turn on the light|hello gemma|emma|jenna|germany|general|image of|hegemony|hey jelly|"
            "hey jumbo|hey gym|hey mum|hey jeff|hey judge|hey jack|hey lemma|hey tim|hey dim the light|hey them|hey mammal|jam|"
            "gemma and emma|my name is gemma|hey hey|hey what is that|they dim a light|hey john|hey jamal|hey pamela|hey edgar|"
            # What speech without the phrase was taken for it.
            "egypt|about egypt|in egypt|drive to egypt|the president|study physics|he gave a|she gave him a|give emma a call|"
            "they didn't have a|page eleven|a cagey|an integer|teenager|a vigorous|legitimate|edge of a|edges|a reagent|they changed a|"
            "her gestures|heavily|they demand|context manager|passages|the judge|project|imaginary|damage|garbage|age limit|january|"
            "hey jude|may jump|thank you|thank you very much|a jar|they jam a|may gamble|came to a|agenda|magenta|pyjama|engine|"
            "imagine a|hi jenna|hey henna|hey yemen|generous|they generate|a genuine|hey geneva|a generation|page from a|"
            "hold on a moment|thirteen degrees|eighteen steps|a dangerous|they jumped over|hey dreamer|integers are|hey jerry").split("|"),
        unheard=(
            "hey sam|hey jasmine|hey janet|hey jeremy|hey melissa|hey jemmy boy|hey tomorrow|hey denver|hey gerald|grey hammer|"
            "hey jewel|may remember|hey jungle|hey gentle giant|ask gemma|call gemma|gemma gemma|enigma|gemstone|hey ginger").split("|"),
    ),
    Keyword(
        name="stop", phrases={"stop": 1}, fire=(0.0, 0.30), border=0.09, over=0.8, span=7, avoid=ENDING, aim=2.0,
        near=(
            "top|shop|stock|step|stub|start|stomp|hop|drop|stuff|spot|stoop|strop|star|swap|pop|sock|stalk|store|staff|dot|hot|"
            "storm|stack|steep|stamp|soap|sub|stone|still|crop|prop|cop|mop|flop|chop|slop|laptop|desktop|stay|stand|stairs|"
            "strap|"
            "strip|sob|tap|tom|talk|start the music|step back|shop list|what's up|hold|hall|salt|fault|hat|heart|alter|hard|hole|"
            "bolt|malt|hulk|hold on|hall light|how|what|hut|hello|help|halo|call|all|hurt|hunt|volt|assault|default|on top|"
            "start now|"
            "sport|stab|state|stick|stump|store it|stove|stereo|story|study|system|stir|scott|squat|shot|pot|pause|up|sup").split("|"),
        unheard=(
            "step up|stuck|sterile|stout|stool|stamped|stork|clock|rock|lock|block|job|bop|popcorn|shopping|suppose|step down|"
            "hawk|haunt|hallway|holt street|harp|hand|hop on|spock|stardust|statue|stencil|topic|opera").split("|"),
    ),
]
KEYWORDS = {keyword.name: keyword for keyword in SHIPPED}
