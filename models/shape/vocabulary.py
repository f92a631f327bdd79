"""An invented vocabulary: Gemma 4's control tokens, bytes and letters, filled up with invented words.

Text is read letter by letter, since the invented words have no merges; what the model generates is
mostly invented words. So prompts have about as many tokens as letters, and answers are readable.
"""

from itertools import islice, product

from gguf import TokenType

# Gemma 4's own control tokens, each with how a tokenizer must treat it.
CONTROL = {
    "<pad>": TokenType.CONTROL,
    "<eos>": TokenType.CONTROL,
    "<bos>": TokenType.CONTROL,
    "<unk>": TokenType.CONTROL,
    "<mask>": TokenType.CONTROL,
    "<|tool>": TokenType.CONTROL,
    "<tool|>": TokenType.CONTROL,
    "<|tool_call>": TokenType.USER_DEFINED,
    "<tool_call|>": TokenType.USER_DEFINED,
    "<|tool_response>": TokenType.CONTROL,
    "<tool_response|>": TokenType.CONTROL,
    '<|"|>': TokenType.USER_DEFINED,
    "<|think|>": TokenType.CONTROL,
    "<|channel>": TokenType.USER_DEFINED,
    "<channel|>": TokenType.USER_DEFINED,
    "<|turn>": TokenType.CONTROL,
    "<turn|>": TokenType.CONTROL,
    "<|image>": TokenType.CONTROL,
    "<|image|>": TokenType.CONTROL,
    "<image|>": TokenType.CONTROL,
    "<|audio>": TokenType.CONTROL,
    "<|audio|>": TokenType.CONTROL,
    "<audio|>": TokenType.CONTROL,
}

# Those of Gemma 3 and 3n.
CONTROL_3 = {
    "<pad>": TokenType.CONTROL,
    "<eos>": TokenType.CONTROL,
    "<bos>": TokenType.CONTROL,
    "<unk>": TokenType.UNKNOWN,
    "<mask>": TokenType.USER_DEFINED,
    "<start_of_turn>": TokenType.CONTROL,
    "<end_of_turn>": TokenType.CONTROL,
    "<start_of_image>": TokenType.USER_DEFINED,
    "<end_of_image>": TokenType.USER_DEFINED,
}

SPACE = "▁"
LETTERS = ["\n", "\n\n", SPACE, *map(chr, range(ord("!"), ord("~") + 1))]
# A tokenizer must have merges; these make single tokens of what begins most words.
MERGES = [f"{SPACE} {letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]


def invented_words():
    """Words of three syllables, one after the other: 100³ of them."""
    syllables = ["".join(pair) for pair in product("bcdfghjklmnprstvwxyz", "aeiou")]
    return (SPACE + "".join(word) for word in product(syllables, repeat=3))


def invented(size, control=CONTROL):
    """`size` tokens with their types, those of `control` first, and the merges."""
    tokens = dict(control)
    tokens |= dict.fromkeys(LETTERS, TokenType.NORMAL)
    tokens |= dict.fromkeys((f"<0x{byte:02X}>" for byte in range(256)), TokenType.BYTE)
    tokens |= dict.fromkeys((merge.replace(" ", "") for merge in MERGES), TokenType.NORMAL)
    words = islice(invented_words(), size - len(tokens))
    tokens |= dict.fromkeys(words, TokenType.NORMAL)
    return tokens, MERGES


def write(writer, family, tokens, merges):
    """Writes a vocabulary: tokens with their types, and merges of two tokens, a space between them."""
    ids = {token: id for id, token in enumerate(tokens)}
    writer.add_tokenizer_model(family.tokenizer)
    writer.add_token_list(list(tokens))
    # Where there are no merges, of two tokens side by side those are one whose text has the highest score.
    writer.add_token_scores([-float(id) for id in ids.values()])
    writer.add_token_types(list(tokens.values()))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(ids["<bos>"])
    writer.add_eos_token_id(ids["<eos>"])
    writer.add_eot_token_id(ids[family.turn_end])
    writer.add_unk_token_id(ids["<unk>"])
    writer.add_pad_token_id(ids["<pad>"])
    writer.add_mask_token_id(ids["<mask>"])
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
