"""What every node of a run comes to: worked out from its source alone, as if operators were functions."""

import hashlib

from graphs import plan

from flowc.plan.model import references
from flowrun.core.control import flat
from flowrun.core.model import Artifact


class Oracle:
    """The source of a run, which may change, and what it means. `state` is that of the run, once open."""

    def __init__(self, source):
        self.source = source
        self.code = ["code=first"] * len(source)  # what may change when a run is resumed
        self.state = None
        self.compile()

    def change(self, random):
        """Somebody edits an operator, or names another one."""
        changed = random.randrange(len(self.source))
        self.code[changed] = random.choice(["code", "op"]) + f"={random.random()}"
        self.compile()

    def compile(self):
        """The plan of now, and for each node what stands for its source and all above it."""
        self.plan = plan("\n".join(map("  ".join, zip(self.source, self.code, strict=True))))
        self.nodes = {node.id: node for node in self.plan.nodes}
        self._codes = dict(zip(self.nodes, self.code, strict=True))
        self._computes = {}
        for node in self.plan.nodes:
            self._computes[node.id] = self._digest(node.id, node)

    def begin(self, state):
        """A new execution: others may be skipped in this one."""
        self.state, self._artifacts = state, {}

    def source_of(self, node):
        """What stands for the source of a node and all above it; of one of a loop when that has unfolded."""
        if node not in self._computes:
            self._computes[node] = self._digest(loop_of(node), self.state.by_id[node].node)
        return self._computes[node]

    def artifact(self, node):
        """A result is a function of what an operator means and of its arguments: it is deterministic.

        Other source may mean the same, and then what depends on it is given the same. What was kept is as it
        was: what it depends on may not have been asked again.
        """
        if self.state.by_id[node].kept:
            return self.state.by_id[node].artifact
        if node not in self._artifacts:
            self._artifacts[node] = self._made(loop_of(node), self.state.by_id[node])
        return self._artifacts[node]

    def _made(self, site, task):

        def of(tree):
            refs = [(self._given(ref.source), ref.at) for ref in references(flat(tree, self.state.results))]
            return refs or tree

        args = sorted((name, of(tree)) for name, tree in task.node.args.items())
        meaning = hashlib.sha256(self._codes[site].encode()).digest()[0] % 3
        return Artifact(hashlib.sha256(repr((site, meaning, args)).encode()).hexdigest(), 10)

    def _given(self, source):
        """What others are given of a node that is over, or was before it had to run again."""
        of = self.state.by_id[source]
        return self.artifact(source) if of.state == "succeeded" or of.redone else None

    def truth(self, branch):
        """Whether a branch holds."""
        return int(self._computes[branch], 16) % 2 == 0

    def names(self, loop):
        """The names of a loop's items."""
        args, reduces = self.nodes[loop].args, self.control(loop) == "reduce"
        items = flat(args["items" if reduces else "item"], self.state.results)
        count = int(self._computes[loop], 16) % 5
        count = len(items) if isinstance(items, list) else max(count, reduces and "initial" not in args)
        return tuple(f"k{i}" for i in range(count))

    def control(self, node):
        return self.state.by_id[node].site.control

    def _digest(self, site, node):
        def of(tree):
            refs = [(self.source_of(ref.source), ref.at) for ref in references(tree)]
            return refs or tree

        args = sorted((name, of(tree)) for name, tree in node.args.items())
        return hashlib.sha256(repr((site, self._codes[site], args)).encode()).hexdigest()


def loop_of(node):
    """The loop that a node is of, by its id."""
    return node.rpartition("[")[0] or node
