"""Owns the element types of the public format and their storage width."""

from enum import StrEnum


class DType(StrEnum):
    """Element type of a tensor, spelt as in the public format."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT8_E4M3FN = "float8_e4m3fn"
    FLOAT8_E5M2 = "float8_e5m2"
    FLOAT4_E2M1 = "float4_e2m1"
    FLOAT4_E2M1FN_X2 = "float4_e2m1fn_x2"
    INT64 = "int64"
    INT32 = "int32"
    INT16 = "int16"
    INT8 = "int8"
    BOOL = "bool"

    @property
    def is_floating(self) -> bool:
        """Whether values of this type carry a fraction."""
        return self.value.startswith(("float", "bfloat"))

    @property
    def bits(self) -> int:
        """Storage bits an element; 4 for both packed fp4 spellings."""
        return _BITS[self]


_BITS: dict[DType, int] = {
    DType.FLOAT64: 64,
    DType.INT64: 64,
    DType.FLOAT32: 32,
    DType.INT32: 32,
    DType.FLOAT16: 16,
    DType.BFLOAT16: 16,
    DType.INT16: 16,
    DType.FLOAT8_E4M3FN: 8,
    DType.FLOAT8_E5M2: 8,
    DType.INT8: 8,
    DType.BOOL: 8,
    DType.FLOAT4_E2M1: 4,
    DType.FLOAT4_E2M1FN_X2: 4,
}
