"""How a model's matrices are stored: the usual recipes of llama.cpp's quantiser (llama-quant.cpp), with the kinds of
tensors that each of them makes."""

from dataclasses import dataclass

from gguf import GGMLQuantizationType as Type
from gguf import LlamaFileType


@dataclass(frozen=True)
class Quantisation:
    file_type: LlamaFileType
    most: Type
    tables: Type  # of tokens
    finer: Type  # of values and of the way down, in some layers

    def finer_in(self, layer, layers):
        """The kind of the tensors for which some layers get more bits (llama-quant.cpp, `use_more_bits`)."""
        eighth = layers // 8
        more = layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
        return self.finer if more else self.most


def uniform(file_type, kind, tables=Type.Q6_K):
    return Quantisation(file_type, kind, tables, kind)


QUANTISATIONS = {
    "f16": uniform(LlamaFileType.MOSTLY_F16, Type.F16, Type.F16),
    "bf16": uniform(LlamaFileType.MOSTLY_BF16, Type.BF16, Type.BF16),
    "q8_0": uniform(LlamaFileType.MOSTLY_Q8_0, Type.Q8_0, Type.Q8_0),
    "q6_k": uniform(LlamaFileType.MOSTLY_Q6_K, Type.Q6_K),
    "q5_k_m": Quantisation(LlamaFileType.MOSTLY_Q5_K_M, Type.Q5_K, Type.Q6_K, Type.Q6_K),
    "q5_0": uniform(LlamaFileType.MOSTLY_Q5_0, Type.Q5_0),
    "q4_k_m": Quantisation(LlamaFileType.MOSTLY_Q4_K_M, Type.Q4_K, Type.Q6_K, Type.Q6_K),
    "q4_k_s": Quantisation(LlamaFileType.MOSTLY_Q4_K_S, Type.Q4_K, Type.Q6_K, Type.Q5_K),
    "q4_1": uniform(LlamaFileType.MOSTLY_Q4_1, Type.Q4_1),
    "q4_0": uniform(LlamaFileType.MOSTLY_Q4_0, Type.Q4_0),
    "iq4_nl": Quantisation(LlamaFileType.MOSTLY_IQ4_NL, Type.IQ4_NL, Type.Q6_K, Type.Q5_K),
    "iq4_xs": Quantisation(LlamaFileType.MOSTLY_IQ4_XS, Type.IQ4_XS, Type.Q6_K, Type.Q5_K),
    "q3_k_m": Quantisation(LlamaFileType.MOSTLY_Q3_K_M, Type.Q3_K, Type.Q6_K, Type.Q5_K),
    "q2_k": Quantisation(LlamaFileType.MOSTLY_Q2_K, Type.Q2_K, Type.Q6_K, Type.Q3_K),
}
