r"""The figure's words and equations.

``\Xch``, ``\Xcw`` and ``\Xhw`` stand for the descriptors, with a superscript C in the complement
pass; ``<mark>`` for I or C; in ``SPATIAL``, written once for h and w, ``<f>`` is the factor,
``<d>`` its descriptor, ``<L>`` its axis, ``<M>`` the other axis and ``<line>`` a row or column.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """What ``Node`` holds, with its tokens; an underscore in the symbol makes a subscript."""

    name: str
    symbol: str
    equations: tuple[int, ...]
    latex: str
    prose: str


_EQN_1 = r"""\begin{aligned}
\mathcal{X}_{out} &= \mathcal{X} \otimes \mathcal{A}_{\mathcal{I}}
  + [\mathcal{X} \otimes (1 - \mathcal{A}_{\mathcal{I}})] \otimes \mathcal{A}_{\mathcal{C}} \\
&= \mathcal{X} \otimes (\mathcal{A}_{\mathcal{I}}
  + (1 - \mathcal{A}_{\mathcal{I}}) \otimes \mathcal{A}_{\mathcal{C}})
\end{aligned} \tag{1}"""

FEATURE = Entry(
    "the feature X",
    "X",
    (1,),
    _EQN_1,
    "A layer of the network hands DRTAM a feature X: C channels, each a small picture of H × W "
    "cells that says how strongly the channel responds to that part of the photo. DRTAM "
    "multiplies every one of these numbers by a weight of its own between 0 and 1 and hands the "
    "result on: what matters stays, the rest is dampened. Shown is the mean over the channels.",
)

_MEANS = (
    "DRTAM never looks at X itself again, only at three averages of it. This one averages over "
    "{over} and keeps {what}. Three small tables instead of one big block are why DRTAM is cheap."
)
DESCRIPTORS = {
    "ch": Entry(
        "descriptor X_ch, channels by rows",
        "X_ch",
        (12,),
        r"\Xch = \text{AvgPool}_W(\mathcal{X}) \qquad \text{(section 3; the pooling of Eqn 12)}",
        _MEANS.format(over="the columns", what="how strong each channel is in each **row**"),
    ),
    "cw": Entry(
        "descriptor X_cw, channels by columns",
        "X_cw",
        (13,),
        r"\Xcw = \text{AvgPool}_H(\mathcal{X}) \qquad \text{(section 3; the pooling of Eqn 13)}",
        _MEANS.format(over="the rows", what="how strong each channel is in each **column**"),
    ),
    "hw": Entry(
        "descriptor X_hw, rows by columns",
        "X_hw",
        (14,),
        r"\Xhw = \text{AvgPool}_C(\mathcal{X}) \qquad \text{(section 3; the pooling of Eqn 14)}",
        _MEANS.format(over="the channels", what="one picture, **where** anything responds"),
    ),
}

_RTAM = (
    "From three descriptors to three short vectors: a weight for each channel, one for each row, "
    "one for each column. {own} **Figure 3 shows what happens inside**, one vector in each of its "
    "lines: click through them."
)
_RTAM_LATEX = (
    r"(\Xch, \Xcw, \Xhw) \;\longmapsto\; (c_<mark>, h_<mark>, w_<mark>) "
    r"\qquad \text{(Figure 3; Eqn 3-11)}"
)
RTAM_INITIAL = Entry(
    "rank-1 tensor attention module (RTAM)",
    "RTAM",
    tuple(range(3, 12)),
    _RTAM_LATEX,
    _RTAM.format(own="This one sees the descriptors of X."),
)
RTAM_COMPLEMENT = RTAM_INITIAL._replace(
    prose=_RTAM.format(
        own="This one sees the descriptors of the residual. Its convolutions and batch norms have "
        "weights of their own; F0 and F1, which hold nearly all the parameters, are shared."
    )
)

CHANNEL = (
    Entry(
        "X_cw and X_ch cut into chunks, for c",
        "X_cw , X_ch",
        (3, 4),
        r"\Xcw \to \Xcw^k, \quad \Xch \to \Xch^k, \qquad k = 1, 2, \dots, S "
        r"\qquad \text{(before Eqn 3 and 4)}",
        "For the channels, X_cw is cut into S chunks along W and X_ch into S along H: left, "
        "middle and right, top, middle and bottom if S is 3. One average over everything would "
        "forget where a channel was strong; single columns would be too many. Chunks keep some of "
        "both, the long range and the local.",
    ),
    Entry(
        "P_c, the pooled chunks",
        "P_c",
        (3, 4),
        r"""\begin{aligned}
\mathcal{P}_{cw}^k(\text{Avg}, \text{Max}) &= \Big[\tfrac{S}{W} \textstyle\sum_j \Xcw^k(:, 1, j),
  \; \max_j \Xcw^k(:, 1, j)\Big] && (3) \\
\mathcal{P}_{ch}^k(\text{Avg}, \text{Max}) &= \Big[\tfrac{S}{H} \textstyle\sum_j \Xch^k(:, j, 1),
  \; \max_j \Xch^k(:, j, 1)\Big] && (4)
\end{aligned}""",
        "Each chunk becomes two numbers per channel: its average, and its maximum, which a small "
        "but strong response survives. 2 descriptors × S chunks × 2 poolings make 4S numbers for "
        "every channel, the lines of this table.",
    ),
    Entry(
        "S_c, the convolution of P_c",
        "S_c",
        (5,),
        r"""\mathcal{S}_c = \text{Conv2D}(\mathcal{P}_c) = \text{Conv2D}([
\mathcal{P}_{cw}^1, \mathcal{P}_{ch}^1, \dots, \mathcal{P}_{cw}^S, \mathcal{P}_{ch}^S]) \tag{5}""",
        "A convolution with the kernel (1, 4S) is here no more than a weighted sum: the same 4S "
        "learned weights, on the left, mix the 4S numbers of every channel into one. The weights "
        "say which part of the photo and which pooling count.",
    ),
    Entry(
        "F0 and F1, the MLP",
        "F_0 , F_1",
        (6,),
        r"\mathcal{F}_1(\text{ReLU}(\mathcal{F}_0(\mathcal{S}_c))) \qquad \text{(inside Eqn 6)}",
        "So far every channel was on its own. F0 squeezes all C numbers into a few hidden ones, "
        "F1 expands them to C again, so the weight of a channel can depend on all the others. "
        "The paper names no activation between them; ReLU is its authors' code's. "
        "The hidden width is C / r, and at least 8 as this project reads the paper, 1 in its "
        "authors' code. **Both passes use the same F0 and F1.**",
    ),
    Entry(
        "the channel factor c",
        "c_<mark>",
        (6,),
        r"c_<mark> = \sigma(\mathcal{F}_1(\mathcal{F}_0(\mathcal{S}^c))) \tag{6}",
        "The sigmoid σ turns any number into a weight between 0 and 1: 0.5 for 0, towards 1 for "
        "large ones, towards 0 for very negative ones. The result has one weight for each "
        "channel.",
    ),
)

SPATIAL = (
    Entry(
        "X_hw and X_<d> cut into chunks, for <f>",
        "X_hw , X_<d>",
        (7, 8),
        r"\Xhw \to \Xhw^k, \; k = 1, \dots, S, \qquad \X<d> \to \X<d>^n, \; n = 1, \dots, N "
        r"\qquad \text{(before Eqn 7 and 8)}",
        "For the weights of the <line>s, X_hw is cut into S chunks along <M>, and X_<d> into N "
        "chunks along its channels. The axis <L> itself is left whole, since each of its <line>s "
        "is to have a weight.",
    ),
    Entry(
        "P_<f>, the pooled chunks",
        "P_<f>",
        (7, 8, 9),
        r"""\begin{aligned}
\mathcal{P}_{hw}^k(\text{Avg}) &= \tfrac{S}{<M>} \textstyle\sum_j \Xhw^k && (7) \\
\mathcal{P}_{<d>}^n(\text{Avg}) &= \tfrac{N}{C} \textstyle\sum_j \X<d>^n && (8) \\
\overline{\mathcal{P}}_{<d>}(\text{Max}) &= \textstyle\max_{0 < j \leq C} \X<d> && (9)
\end{aligned}""",
        "Each chunk is averaged, and X_<d> also gives its maximum over all the channels. S + N "
        "+ 1 numbers describe every <line> of the photo: what is in its parts, and how strong the "
        "channels are there.",
    ),
    Entry(
        "S_<f>, the convolution of P_<f>",
        "S_<f>",
        (10,),
        r"""\mathcal{S}_<f> = \text{Conv2D}(\mathcal{P}_<f>) = \text{Conv2D}([
\mathcal{P}_{hw}^1, \mathcal{P}_{<d>}^1, \dots, \mathcal{P}_{hw}^S, \mathcal{P}_{<d>}^N,
\overline{\mathcal{P}}_{<d>}(\text{Max})]) \tag{10}""",
        "A convolution with the kernel (3, S+N+1): the weights on the left mix the numbers of a "
        "<line> and, unlike those for the channels, those of the <line> before and after it. "
        "Beyond the border the convolution sees zeros.",
    ),
    Entry(
        "batch normalisation of S_<f>",
        "BN",
        (11,),
        r"\text{BN}(\mathcal{S}_<f>) \qquad \text{(inside Eqn 11)}",
        "Batch normalisation moves and stretches S_<f> so that it suits the sigmoid. Training "
        "sets by how much; when the network is used, it is a straight line.",
    ),
    Entry(
        "the factor <f> of the <line>s",
        "<f>_<mark>",
        (11,),
        r"<f>_<mark> = \sigma(\text{BN}(\mathcal{S}_<f>)) \tag{11}",
        "The sigmoid σ turns any number into a weight between 0 and 1. The result has one weight "
        "for each <line> of the feature, hence for a stripe of the photo.",
    ),
)

MAP = Entry(
    "the map A_<mark>",
    "A_<mark>",
    (2,),
    r"\mathcal{A}_{\mathcal{<mark>}} = c_<mark> \circ h_<mark> \circ w_<mark> \tag{2}",
    "The weight of a number is that of its channel times that of its row times that of its "
    "column. So C + H + W numbers make one for every of the C × H × W: a tensor of rank 1. All "
    "channels share one picture, brighter in some and darker in others. The product of three "
    "weights below 1 is small, which is why one such map alone lets little pass.",
)

RDEM = Entry(
    "residual descriptors extraction module (RDEM)",
    "RDEM",
    (12, 13, 14),
    r"""\begin{aligned}
\mathcal{X}_{ch}^C &= \Xch \otimes (\mathbf{1} - c_I \circ h_I) && (12) \\
\mathcal{X}_{cw}^C &= \Xcw \otimes (\mathbf{1} - c_I \circ w_I) && (13) \\
\mathcal{X}_{hw}^C &= \Xhw \otimes (\mathbf{1} - h_I \circ w_I) && (14)
\end{aligned}""",
    "Where the initial map says 0.25, a quarter of X passes and three quarters are left over: the "
    "residual X ⊗ (1 − A_I). RDEM describes it by three tables again, each descriptor times the "
    "share that was left. Those shares are shown. The complement pass then finds what of the "
    "residual deserves to pass after all.",
)

_LEFT = (
    "The same average as before, now of what the initial map left over. It comes from the "
    "descriptor and two factors alone, without another look at X. The price is an approximation: "
    "the exact average would weigh with {dropped} too, which the equation takes for all ones. The "
    "third panel is the error that this makes."
)
RESIDUAL = {
    "ch": Entry(
        "residual descriptor X_ch of the complement pass",
        "X_ch<sup>C</sup>",
        (12,),
        r"""\mathcal{X}_{ch}^C
= \text{AvgPool}_W(\mathcal{X} \otimes (\mathbf{1} - c_I \circ h_I \circ \mathbf{1}))
= \Xch \otimes (\mathbf{1} - c_I \circ h_I) \tag{12}""",
        _LEFT.format(dropped="$w_I$"),
    ),
    "cw": Entry(
        "residual descriptor X_cw of the complement pass",
        "X_cw<sup>C</sup>",
        (13,),
        r"""\mathcal{X}_{cw}^C
= \text{AvgPool}_H(\mathcal{X} \otimes (\mathbf{1} - c_I \circ \mathbf{1} \circ w_I))
= \Xcw \otimes (\mathbf{1} - c_I \circ w_I) \tag{13}""",
        _LEFT.format(dropped="$h_I$"),
    ),
    "hw": Entry(
        "residual descriptor X_hw of the complement pass",
        "X_hw<sup>C</sup>",
        (14,),
        r"""\mathcal{X}_{hw}^C
= \text{AvgPool}_C(\mathcal{X} \otimes (\mathbf{1} - \mathbf{1} \circ h_I \circ w_I))
= \Xhw \otimes (\mathbf{1} - h_I \circ w_I) \tag{14}""",
        _LEFT.format(dropped="$c_I$"),
    ),
}

COMBINED = Entry(
    "the combined map A",
    "A",
    (1,),
    _EQN_1,
    "The initial map, plus the part of the remainder 1 − A_I that the complement map brings back: "
    "the bracket behind X in the second line. A is never below either map and never above 1. "
    "Two maps of rank 1, put together like this, can say what no single one could: A may have "
    "rank 3.",
)
OUTPUT = Entry(
    "the recalibrated feature X_out",
    "X_out",
    (1,),
    _EQN_1,
    "Every number of X times its weight in A. X_out has the shape of X and takes its place in the "
    "network. The pictures are means over the channels: of X, of what the initial map alone lets "
    "pass, and of what both let pass.",
)
