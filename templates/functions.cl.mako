<%doc>
Own mathematics. Why not the built-ins: on PoCL a call to a built-in clobbers all vector registers, so that every
accumulator is spilled around it; these are short enough to be inlined.

This file says how functions are written and which file has which: exponentials.cl.mako, logarithms.cl.mako
(and powers), trigonometry.cl.mako, special.cl.mako (erf, lgamma and theirs), rounding.cl.mako
(and reads of tables), roots.cl.mako (exponentials of GPUs). One def per function,
called as def(suffix, T, I, dtype): it writes `T NAME_suffix(T x)`, or `T NAME_suffix(T x, T y)`. A function may call
others: what it calls is found in its text and written before it.
  suffix  "v" (a lane vector) or "s" (one scalar); "wv" or "ws" beside such in single precision (wide.cl.mako)
  T, I    OpenCL types: T as float16 or double; I the integer type just as wide (int16, long)
  dtype   "float" or "double"

Rules of these files
- No fma(), rint(), ldexp() ...: calls, on some drivers even fabs() and floor(). Write a * b + c; -cl-mad-enable makes
  it one instruction.
- Rounding to an integer is adding and subtracting MAGIC = 1.5 * 2^23 (1.5 * 2^52), after which the integer sits in the
  low mantissa bits. -cl-fast-relaxed-math would fold that away: kernels must not be built with it.
- Text is the same for scalars and vectors: selection by ?:, whose constants are cast to T.
- No arithmetic right shift and no long <-> double conversion: AVX2 has neither.
- Where registers may serve as tables (the prelude says when), exp has forms for whole registers.
- A sign is moved as a bit, by ^ and |; -0 counts as negative.
- Every coefficient comes with its interval and its error as it is written. They are minimax fits, made with the Remez
  algorithm or Lawson's: leading coefficients are rounded first and the others fitted again. tests/test_prelude.py
  asserts the stated bounds.
Bounds are in ulp (units in the last place) of the correctly rounded result, where a * b + c is one FMA; "seen" is the
largest error met (float exp: over all floats). Without FMA exp and exp2 may err by 0.5 ulp more, the others keep their
bounds. expm1, log1p and sin make 0 of -0.
</%doc>
<%namespace name="exponentials" file="exponentials.cl.mako"/>
<%namespace name="logarithms" file="logarithms.cl.mako"/>
<%namespace name="trigonometry" file="trigonometry.cl.mako"/>
<%namespace name="special" file="special.cl.mako"/>
<%namespace name="rounding" file="rounding.cl.mako"/>
<%namespace name="roots" file="roots.cl.mako"/>

<%!
    import re


    def in_order(names, text_of):
        """The texts of functions by name, each after those that it calls."""
        found = {}

        def add(name):
            if name in found:
                return
            text = text_of(name)
            for called in sorted(set(re.findall(r"\b(\w+)_w?[vs]\(", text)) - {name}):
                add(called)
            found[name] = text

        for name in sorted(names):
            add(name)
        return found.values()
%>

<%def name="written(names, realv, inumv, real, inum, dtype, prefix='')">
<%
    files = (exponentials, logarithms, trigonometry, special, rounding, roots)
    text = capture  # Mako sees names at this level only

    def both_forms(name):
        define = next(getattr(file, name) for file in files if file.template.has_def(name))
        forms = ((prefix + "v", realv, inumv), (prefix + "s", real, inum))
        return "\n\n".join(text(define, suffix, T, I, dtype).strip() for suffix, T, I in forms)
%>\
${"\n\n".join(in_order(names, both_forms))}\
</%def>
