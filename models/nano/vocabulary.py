"""Makes the tokenizer from what the model will read and write: `python vocabulary.py OUT`."""

import sys
from collections import Counter
from pathlib import Path

import data
import examples
import tokenizer as tokens


def main(path):
    builder = examples.Builder(3)
    texts = Counter()
    for _ in range(12000):
        line = builder.utterance()
        # What is read aloud needs letters; words of commands come first.
        weight = 1 if line["kind"] == "read" else 3
        for text in (line["say"], line["written"], line["answer"]):
            texts[text] += weight
    for name in builder.catalogue.commands:
        texts[tokens.prompt([{"role": "user", "content": ""}], [builder.catalogue.declaration(name)])] += 150
    for text in [*examples.SYSTEMS, *examples.PROBLEMS, "Done.", "That did not work: no.", "<|turn>user\n<|turn>model\n<|turn>system\nthought\nresponse:value:error:"]:
        texts[text] += 300
    vocabulary = tokens.Tokenizer.train(texts, [data.ASR_PROMPT, "Transcribe."])
    vocabulary.save(path)
    lengths = Counter(len(vocabulary.encode(text)) for text in texts)
    print(len(vocabulary.tokens), "tokens;", len(vocabulary.encode(data.ASR_PROMPT)), "for the transcription prompt;", sorted(lengths.items())[:20])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
