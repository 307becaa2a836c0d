"""Written by `python docs/make_stubs.py` from the registry. Do not edit: change the doc of the function."""

from inspect import Signature
from typing import Any

from typing_extensions import Self

from clreduce.ir.op import Function
from clreduce.lazy.methods import Methods

NOT_METHODS: frozenset[str]

def method_name(function: Function) -> str: ...
def wanted() -> dict[str, Function]: ...
def described(function: Function) -> str: ...
def parameters_of(function: Function) -> tuple[str, ...]: ...
def signature(function: Function) -> Signature: ...

class FunctionMethods(Methods):
    def acos(self) -> Self:
        """arccosine in [0, pi]; slope -inf at -1 and 1, nan beyond; f is this tensor."""

    def acosh(self) -> Self:
        """inverse of Cosh, from 0 up; slope inf at 1, nan below; f is this tensor."""

    def adjointoperator(self, v: Any, u: Any) -> Self:
        """M^T u where f = M v is linear in v; f is this tensor."""

    def asin(self) -> Self:
        """arcsine in [-pi/2, pi/2]; slope inf at -1 and 1, nan beyond; f is this tensor."""

    def asinh(self) -> Self:
        """inverse of Sinh; f is this tensor."""

    def atan(self) -> Self:
        """arctangent in [-pi/2, pi/2]; f is this tensor."""

    def atan2(self, other: Any) -> Self:
        """angle of the point (x, y) = (g, f) in [-pi, pi]; Atan2(0, 0) = 0 with slope nan; f is this tensor."""

    def atanh(self) -> Self:
        """inverse of Tanh; +-inf with slope inf at +-1, nan beyond; f is this tensor."""

    def cos(self) -> Self:
        """cosine; f is this tensor."""

    def cosh(self) -> Self:
        """hyperbolic cosine; f is this tensor."""

    def cross(self, other: Any) -> Self:
        """vector product in three dimensions; exactly 0 for g = f; f is this tensor."""

    def det(self) -> Self:
        """determinant of a 2 x 2 or 3 x 3 matrix; f is this tensor."""

    def difference_matrix(self, other: Any) -> Self:
        """all differences f_k - g_l, at place k * D(g) + l; f is this tensor."""

    def digamma(self) -> Self:
        """derivative of Lgamma; -inf at 0, inf at -0, nan at negative integers and at -inf; f is this tensor."""

    def divergence(self, var: Any) -> Self:
        """sum over k of df_k/dv_k; f is this tensor."""

    def elemt(self, n: Any, m: Any) -> Self:
        """n zeros, but f (of length 1) at place m, counted from 0; f is this tensor."""

    def erf(self) -> Self:
        """error function, 2 / Sqrt(pi) times the integral of e^-t^2 from 0 to f; -1 at -inf, 1 at inf; f is this
        tensor."""

    def erfc(self) -> Self:
        """1 - Erf(f) without cancellation; 2 at -inf, 0 at inf; f is this tensor."""

    def exp(self) -> Self:
        """e^f; Exp(-inf) = 0; f is this tensor."""

    def exp2(self) -> Self:
        """2^f; Exp2(-inf) = 0; f is this tensor."""

    def expm1(self) -> Self:
        """e^f - 1 without cancellation near 0; Expm1(-inf) = -1; f is this tensor."""

    def extractt(self, start: Any, n: Any) -> Self:
        """n zeros, but f from place start on; f is this tensor."""

    def floor(self) -> Self:
        """the largest integer up to f; slope 0 everywhere; f is this tensor."""

    def grad_matrix(self, other: Any) -> Self:
        """all df_k/dv_l, at place k * D(v) + l; f is this tensor."""

    def ifelse(self, other1: Any, other2: Any) -> Self:
        """a where f >= 0, else b; b where f is nan; f is this tensor."""

    def inv(self) -> Self:
        """1 / f; 1/0 is inf; f is this tensor."""

    def inverse(self) -> Self:
        """inverse of a 2 x 2 or 3 x 3 matrix; inf or nan where it is singular; f is this tensor."""

    def laplacian(self, var: Any) -> Self:
        """sum over k of d^2 f/dv_k^2 for f of length 1; f is this tensor."""

    def lgamma(self) -> Self:
        """log|Gamma(f)|; inf at 0, at negative integers and at both infinities; f is this tensor."""

    def log(self) -> Self:
        """natural logarithm; Log(0) = -inf with slope +inf, nan below 0; f is this tensor."""

    def log10(self) -> Self:
        """logarithm to base 10; Log10(0) = -inf with slope +inf, nan below 0; f is this tensor."""

    def log1p(self) -> Self:
        """Log(1 + f) without cancellation near 0; Log1p(-1) = -inf, nan below -1; f is this tensor."""

    def log2(self) -> Self:
        """logarithm to base 2; Log2(0) = -inf with slope +inf, nan below 0; f is this tensor."""

    def logaddexp(self, other: Any) -> Self:
        """Log(Exp(f) + Exp(g)) without overflow; slopes 1/2 where f = g, at infinities too; f is this tensor."""

    def matvecmult(self, other: Any) -> Self:
        """product of the matrix A (D(A) / D(b) rows, D(b) columns) and the vector b; A is this tensor."""

    def maximum(self, other: Any) -> Self:
        """the larger of f and g; nan if either is, a tie counts as f; f is this tensor."""

    def minimum(self, other: Any) -> Self:
        """the smaller of f and g; nan if either is, a tie counts as f; f is this tensor."""

    def norm2(self) -> Self:
        """Euclidean norm; its gradient at 0 is 0; f is this tensor."""

    def normalize(self) -> Self:
        """f / Norm2(f); 0 with slope 0 where f is 0; f is this tensor."""

    def one_hot(self, D: Any) -> Self:
        """n zeros, but 1 at place Floor(f + 1/2), counted from 0, if there is such a place; slope 0 everywhere; f is
        this tensor."""

    def relu(self) -> Self:
        """0 for f < 0, else f; slope 1 at 0; f is this tensor."""

    def rsqrt(self) -> Self:
        """1 / Sqrt(f), but 0 with slope 0 at 0 (f ** -0.5 is inf there); nan below 0; f is this tensor."""

    def sigmoid(self) -> Self:
        """1 / (1 + e^-f); 0 at -inf, 1 at inf; f is this tensor."""

    def sign(self) -> Self:
        """-1, 0 or 1; Sign(0) = 0, slope 0 everywhere; f is this tensor."""

    def sin(self) -> Self:
        """sine; f is this tensor."""

    def sinh(self) -> Self:
        """hyperbolic sine; f is this tensor."""

    def sinxdivx(self) -> Self:
        """Sin(f) / f; 1 with slope 0 at 0, nan at -inf and inf; f is this tensor."""

    def softdtw_sqdist(self, other: Any, gamma: Any) -> Self:
        """soft dynamic time warping of the sequences x and y with squared distances, for gamma > 0; R_kl = (x_k -
        y_l)^2 + softmin of R_(k-1)(l-1), R_(k-1)l and R_k(l-1), where the softmin of a is -gamma * Log(sum
        of Exp(-a_n / gamma)); the first row and column add up; x is this tensor."""

    def softplus(self) -> Self:
        """Log(1 + Exp(f)) without overflow; 0 at -inf, slope Sigmoid(f); f is this tensor."""

    def sqdist(self, other: Any) -> Self:
        """sum of (f_k - g_k)^2; f is this tensor."""

    def sqnorm2(self) -> Self:
        """sum of f_k^2; f is this tensor."""

    def sqrt(self) -> Self:
        """square root; slope 0 at 0 (so that norms have no nan), nan below 0; f is this tensor."""

    def square(self) -> Self:
        """f squared; f is this tensor."""

    def step(self) -> Self:
        """0 for f < 0, else 1 (1 at 0); slope 0 everywhere; f is this tensor."""

    def sumlinoperator(self, v: Any, a: Any = None, b: Any = None) -> Self:
        """sum over k and l of a_k M_kl b_l where f = M v is linear in v; a and b are 1 if they are left out; f is this
        tensor."""

    def sumt(self, n: Any) -> Self:
        """a vector of length 1 repeated n times; f is this tensor."""

    def tan(self) -> Self:
        """tangent; f is this tensor."""

    def tanh(self) -> Self:
        """hyperbolic tangent; -1 at -inf, 1 at inf; f is this tensor."""

    def tensorprod(self, other: Any) -> Self:
        """all products f_k g_l, at place k * D(g) + l; f is this tensor."""

    def trace_operator(self, var: Any, w: Any = None) -> Self:
        """sum over k of w_k M_kk where f = M v is linear in v; w is 1 if it is left out, and f of length 1 counts as
        repeated; f is this tensor."""

    def vecmatmult(self, other: Any) -> Self:
        """product of the vector b and the matrix A (D(b) rows, D(A) / D(b) columns); b is this tensor."""

    def xlogx(self) -> Self:
        """f * Log(f); 0 with slope -inf at 0 (0 for a sum of squares), nan below 0; f is this tensor."""
