"""HPACK's Huffman code (RFC 7541, 5.2 and appendix B), the decoding side.

The code is canonical: codes of one length are in the order of their symbols, and each length goes on where
the last ended. So the lengths of the 256 bytes and of the end of string (EOS) are all there is to tell.
"""

from __future__ import annotations

from functools import cache

_EOS = 256
_LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b08060606"
    "0505050606060606060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c14161414161616171617171717171817"
    "181816171817171717151617161717181615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a17"
    "1a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)


def decode(data: bytes) -> bytes:
    """Return what was coded. Raises `ValueError` for EOS, and for padding other than the first bits of it."""
    moves, ends = _machine()
    out = bytearray()
    state = 0
    for byte in data:
        state, symbol = moves[state << 4 | byte >> 4]
        if symbol >= 0:
            out.append(symbol)
        state, symbol = moves[state << 4 | byte & 15]
        if symbol >= 0:
            out.append(symbol)
    if state not in ends:
        raise ValueError("the text is not of the Huffman code")
    return bytes(out)


@cache
def _machine() -> tuple[list[tuple[int, int]], frozenset[int]]:
    """Where four bits lead from each inner node of the code's tree, and what they complete (-1: nothing).

    No code is shorter than five bits, so four complete at most one. With it the nodes where a text may end:
    up to seven ones from the root. Made in 5 ms, when a client first sends such a text.
    """
    tree = _tree()
    lost = len(tree)  # after EOS: nothing leads out of it
    moves: list[tuple[int, int]] = []
    for node in range(lost):
        for bits in range(16):
            at, symbol = node, -1
            for shift in (3, 2, 1, 0):
                at = tree[at][bits >> shift & 1] if at != lost else lost
                if at < 0:
                    symbol, at = ~at, 0
                    if symbol == _EOS:
                        symbol, at = -1, lost
            moves.append((at, symbol))
    moves += [(lost, -1)] * 16
    ends, at = {0}, 0
    for _ in range(7):
        at = tree[at][1]
        ends.add(at)
    return moves, frozenset(ends)


def _tree() -> list[list[int]]:
    """Inner nodes as pairs: another node, or the complement of a symbol. The root is node 0."""
    tree: list[list[int]] = [[0, 0]]
    code, before = 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(_LENGTHS)):
        code <<= length - before
        at = 0
        for shift in range(length - 1, 0, -1):
            bit = code >> shift & 1
            if not tree[at][bit]:
                tree.append([0, 0])
                tree[at][bit] = len(tree) - 1
            at = tree[at][bit]
        tree[at][code & 1] = ~symbol
        code, before = code + 1, length
    return tree
