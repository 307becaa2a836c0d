"""Written by `python docs/make_stubs.py` from the registry. Do not edit: change the doc of the function."""

from inspect import Signature
from typing import Any, TypeVar

from clreduce.ir.op import Function
from clreduce.lazy.methods import Methods

Tensor = TypeVar("Tensor", bound="FunctionMethods")
NOT_METHODS: frozenset[str]

def method_name(function: Function) -> str: ...
def wanted() -> dict[str, Function]: ...
def described(function: Function) -> str: ...
def parameters_of(function: Function) -> tuple[str, ...]: ...
def signature(function: Function) -> Signature: ...

class FunctionMethods(Methods):
    def acos(self: Tensor) -> Tensor:
        """arccosine in [0, pi]; slope -inf at -1 and 1, nan beyond; f is this tensor."""

    def acosh(self: Tensor) -> Tensor:
        """inverse of Cosh, from 0 up; slope inf at 1, nan below; f is this tensor."""

    def adjointoperator(self: Tensor, v: Any, u: Any) -> Tensor:
        """M^T u where f = M v is linear in v; f is this tensor."""

    def asin(self: Tensor) -> Tensor:
        """arcsine in [-pi/2, pi/2]; slope inf at -1 and 1, nan beyond; f is this tensor."""

    def asinh(self: Tensor) -> Tensor:
        """inverse of Sinh; f is this tensor."""

    def atan(self: Tensor) -> Tensor:
        """arctangent in [-pi/2, pi/2]; f is this tensor."""

    def atan2(self: Tensor, other: Any) -> Tensor:
        """angle of the point (x, y) = (g, f) in [-pi, pi]; Atan2(0, 0) = 0 with slope nan; f is this tensor."""

    def atanh(self: Tensor) -> Tensor:
        """inverse of Tanh; +-inf with slope inf at +-1, nan beyond; f is this tensor."""

    def cos(self: Tensor) -> Tensor:
        """cosine; f is this tensor."""

    def cosh(self: Tensor) -> Tensor:
        """hyperbolic cosine; f is this tensor."""

    def cross(self: Tensor, other: Any) -> Tensor:
        """vector product in three dimensions; exactly 0 for g = f; f is this tensor."""

    def det(self: Tensor) -> Tensor:
        """determinant of a 2 x 2 or 3 x 3 matrix; f is this tensor."""

    def difference_matrix(self: Tensor, other: Any) -> Tensor:
        """all differences f_k - g_l, at place k * D(g) + l; f is this tensor."""

    def digamma(self: Tensor) -> Tensor:
        """derivative of Lgamma; -inf at 0, inf at -0, nan at negative integers and at -inf; f is this tensor."""

    def divergence(self: Tensor, var: Any) -> Tensor:
        """sum over k of df_k/dv_k; f is this tensor."""

    def elemt(self: Tensor, n: Any, m: Any) -> Tensor:
        """n zeros, but f (of length 1) at place m, counted from 0; f is this tensor."""

    def erf(self: Tensor) -> Tensor:
        """error function, 2 / Sqrt(pi) times the integral of e^-t^2 from 0 to f; -1 at -inf, 1 at inf; f is this
        tensor."""

    def erfc(self: Tensor) -> Tensor:
        """1 - Erf(f) without cancellation; 2 at -inf, 0 at inf; f is this tensor."""

    def exp(self: Tensor) -> Tensor:
        """e^f; Exp(-inf) = 0; f is this tensor."""

    def exp2(self: Tensor) -> Tensor:
        """2^f; Exp2(-inf) = 0; f is this tensor."""

    def expm1(self: Tensor) -> Tensor:
        """e^f - 1 without cancellation near 0; Expm1(-inf) = -1; f is this tensor."""

    def extractt(self: Tensor, start: Any, n: Any) -> Tensor:
        """n zeros, but f from place start on; f is this tensor."""

    def grad_matrix(self: Tensor, other: Any) -> Tensor:
        """all df_k/dv_l, at place k * D(v) + l; f is this tensor."""

    def ifelse(self: Tensor, other1: Any, other2: Any) -> Tensor:
        """a where f >= 0, else b; b where f is nan; f is this tensor."""

    def inverse(self: Tensor) -> Tensor:
        """inverse of a 2 x 2 or 3 x 3 matrix; inf or nan where it is singular; f is this tensor."""

    def laplacian(self: Tensor, var: Any) -> Tensor:
        """sum over k of d^2 f/dv_k^2 for f of length 1; f is this tensor."""

    def lgamma(self: Tensor) -> Tensor:
        """log|Gamma(f)|; inf at 0, at negative integers and at both infinities; f is this tensor."""

    def log(self: Tensor) -> Tensor:
        """natural logarithm; Log(0) = -inf with slope +inf, nan below 0; f is this tensor."""

    def log10(self: Tensor) -> Tensor:
        """logarithm to base 10; Log10(0) = -inf with slope +inf, nan below 0; f is this tensor."""

    def log1p(self: Tensor) -> Tensor:
        """Log(1 + f) without cancellation near 0; Log1p(-1) = -inf, nan below -1; f is this tensor."""

    def log2(self: Tensor) -> Tensor:
        """logarithm to base 2; Log2(0) = -inf with slope +inf, nan below 0; f is this tensor."""

    def logaddexp(self: Tensor, other: Any) -> Tensor:
        """Log(Exp(f) + Exp(g)) without overflow; slopes 1/2 where f = g, at infinities too; f is this tensor."""

    def matvecmult(self: Tensor, other: Any) -> Tensor:
        """product of the matrix A (D(A) / D(b) rows, D(b) columns) and the vector b; A is this tensor."""

    def maximum(self: Tensor, other: Any) -> Tensor:
        """the larger of f and g; nan if either is, a tie counts as f; f is this tensor."""

    def minimum(self: Tensor, other: Any) -> Tensor:
        """the smaller of f and g; nan if either is, a tie counts as f; f is this tensor."""

    def normalize(self: Tensor) -> Tensor:
        """f / Norm2(f); 0 with slope 0 where f is 0; f is this tensor."""

    def one_hot(self: Tensor, D: Any) -> Tensor:
        """n zeros, but 1 at place Floor(f + 1/2), counted from 0, if there is such a place; slope 0 everywhere; f is
        this tensor."""

    def relu(self: Tensor) -> Tensor:
        """0 for f < 0, else f; slope 1 at 0; f is this tensor."""

    def rsqrt(self: Tensor) -> Tensor:
        """1 / Sqrt(f), but 0 with slope 0 at 0 (f ** -0.5 is inf there); nan below 0; f is this tensor."""

    def sigmoid(self: Tensor) -> Tensor:
        """1 / (1 + e^-f); 0 at -inf, 1 at inf; f is this tensor."""

    def sign(self: Tensor) -> Tensor:
        """-1, 0 or 1; Sign(0) = 0, slope 0 everywhere; f is this tensor."""

    def sin(self: Tensor) -> Tensor:
        """sine; f is this tensor."""

    def sinh(self: Tensor) -> Tensor:
        """hyperbolic sine; f is this tensor."""

    def softdtw_sqdist(self: Tensor, other: Any, gamma: Any) -> Tensor:
        """soft dynamic time warping of the sequences x and y with squared distances, for gamma > 0; R_kl = (x_k -
        y_l)^2 + softmin of R_(k-1)(l-1), R_(k-1)l and R_k(l-1), where the softmin of a is -gamma * Log(sum
        of Exp(-a_n / gamma)); the first row and column add up; x is this tensor."""

    def softplus(self: Tensor) -> Tensor:
        """Log(1 + Exp(f)) without overflow; 0 at -inf, slope Sigmoid(f); f is this tensor."""

    def sqdist(self: Tensor, other: Any) -> Tensor:
        """sum of (f_k - g_k)^2; f is this tensor."""

    def sqnorm2(self: Tensor) -> Tensor:
        """sum of f_k^2; f is this tensor."""

    def sqrt(self: Tensor) -> Tensor:
        """square root; slope 0 at 0 (so that norms have no nan), nan below 0; f is this tensor."""

    def square(self: Tensor) -> Tensor:
        """f squared; f is this tensor."""

    def step(self: Tensor) -> Tensor:
        """0 for f < 0, else 1 (1 at 0); slope 0 everywhere; f is this tensor."""

    def sumlinoperator(self: Tensor, v: Any, a: Any = None, b: Any = None) -> Tensor:
        """sum over k and l of a_k M_kl b_l where f = M v is linear in v; a and b are 1 if they are left out; f is this
        tensor."""

    def sumt(self: Tensor, n: Any) -> Tensor:
        """a vector of length 1 repeated n times; f is this tensor."""

    def tan(self: Tensor) -> Tensor:
        """tangent; f is this tensor."""

    def tanh(self: Tensor) -> Tensor:
        """hyperbolic tangent; -1 at -inf, 1 at inf; f is this tensor."""

    def tensorprod(self: Tensor, other: Any) -> Tensor:
        """all products f_k g_l, at place k * D(g) + l; f is this tensor."""

    def trace_operator(self: Tensor, var: Any, w: Any = None) -> Tensor:
        """sum over k of w_k M_kk where f = M v is linear in v; w is 1 if it is left out, and f of length 1 counts as
        repeated; f is this tensor."""

    def vecmatmult(self: Tensor, other: Any) -> Tensor:
        """product of the vector b and the matrix A (D(b) rows, D(A) / D(b) columns); b is this tensor."""

    def xlogx(self: Tensor) -> Tensor:
        """f * Log(f); 0 with slope -inf at 0 (0 for a sum of squares), nan below 0; f is this tensor."""

    def sumKmax(self: Tensor, K: Any, weight: Any, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Sum of formula2 over the K largest terms; over all where there are fewer, 0 over nothing; slopes in formula2
        only."""

    def sumKmin(self: Tensor, K: Any, weight: Any, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Sum of formula2 over the K smallest terms; over all where there are fewer, 0 over nothing; slopes in
        formula2 only."""
