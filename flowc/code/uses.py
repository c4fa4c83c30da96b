"""What a piece of code refers to outside of itself, found in its syntax tree by Python's rules of scope."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Imported(NamedTuple):
    """What an import binds a name to: a module, or with `name` something in it. `level` counts the dots."""

    module: str
    name: str = ""
    level: int = 0


class Uses(NamedTuple):
    """What code refers to.

    `names` are global names, each with the attributes asked of it: `("np", "random")`. `imported` are such
    attributes of what the code itself imports; `imports` is all that it imports, used or not. `texts` are
    strings that look like the dotted name of a module.
    """

    names: set[tuple[str, ...]]
    imported: set[tuple[Imported, tuple[str, ...]]]
    imports: set[Imported]
    texts: set[str]


def uses_of(nodes: Iterable[ast.AST]) -> Uses:
    """What some code at the top level of a module refers to, functions and classes in it included."""
    uses = Uses(set(), set(), set(), set())
    left: list[tuple[_Scope, tuple[_Scope, ...]]] = [(_Scope(nodes, "module"), ())]
    while left:
        scope, around = left.pop()
        uses.imports.update(scope.imports)
        uses.texts.update(scope.texts)
        for names in scope.asked:
            _look_up(names, (*around, scope), uses)
        # What a class binds is not seen by the functions in it.
        seen = (*around, scope) if scope.kind == "function" else around
        left += [(_inside(nested), seen) for nested in scope.nested]
    return uses


def bound_by(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """The names that a statement at the top level binds, and those whose value it may change.

    `a.b = 1`, `a[0] = 1`, `a.append(1)`, `register(a)` and a definition under `@a.register` change `a`.
    """
    scope = _Scope([statement], "module")
    called = {names[0] for names in scope.asked} if isinstance(statement, ast.Expr) else set()
    return scope.bound, scope.changed | called


def imported_by(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Imported]]:
    """The names that an import binds, each with what to; `*` for all that there are."""
    match statement:
        case ast.Import(names=names):
            for alias in names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, Imported(alias.name)) if alias.asname else (top, Imported(top))
        case ast.ImportFrom(module=module, names=names, level=level):
            for alias in names:
                yield alias.asname or alias.name, Imported(module or "", alias.name, level)


def chain_of(expression: ast.expr) -> tuple[str, ...]:
    """`("a", "b", "c")` for `a.b.c`; nothing if it does not begin with a name."""
    attributes = []
    while isinstance(expression, ast.Attribute):
        attributes.append(expression.attr)
        expression = expression.value
    return (expression.id, *reversed(attributes)) if isinstance(expression, ast.Name) else ()


_Scoped = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.Lambda,
    ast.ClassDef,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
)


class _Scope:
    """A function, a comprehension, a class or a module: what it binds and asks for, without what is in it."""

    def __init__(self, nodes: Iterable[ast.AST], kind: str, bound: Iterable[str] = ()) -> None:
        self.kind = kind
        self.bound = set(bound)
        self.changed: set[str] = set()
        self.asked: list[tuple[str, ...]] = []
        self.imported: dict[str, list[Imported]] = {}
        self.imports: list[Imported] = []
        self.texts: list[str] = []
        self.nested: list[ast.AST] = []
        elsewhere: set[str] = set()  # declared `global` or `nonlocal`
        left: list[ast.AST | None] = list(nodes)
        while left:
            node = left.pop()
            if isinstance(node, (ast.Global, ast.Nonlocal)):
                elsewhere.update(node.names)
            else:
                left += self._see(node)
        self.asked += [(name,) for name in sorted(self.bound & elsewhere)]
        self.bound -= elsewhere

    def _see(self, node: ast.AST | None) -> Iterable[ast.AST | None]:
        """Take note of a node; what of it belongs to this scope as well."""
        match node:
            case None:
                return ()
            case ast.Name(id=name, ctx=context):
                if isinstance(context, ast.Load):
                    self.asked.append((name,))
                else:
                    self.bound.add(name)
                return ()
            case ast.Attribute(value=value, ctx=context):
                names = chain_of(node)
                if names:
                    self.asked.append(names)
                    if not isinstance(context, ast.Load):
                        self.changed.add(names[0])
                return () if names else (value,)
            case ast.Subscript(value=value, ctx=context) if not isinstance(context, ast.Load):
                self.changed.update(chain_of(value)[:1])
            case ast.Constant(value=str(text)):
                if _is_dotted(text):
                    self.texts.append(text)
            case ast.Import() | ast.ImportFrom():
                for name, imported in imported_by(node):
                    self.bound.add(name)
                    self.imported.setdefault(name, []).append(imported)
                self.imports += (
                    [Imported(alias.name) for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [Imported(node.module or "", alias.name, node.level) for alias in node.names]
                )
                return ()
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                self.bound.add(name)
            case ast.MatchMapping(rest=str(name)):
                self.bound.add(name)
            case ast.arg(annotation=annotation) | ast.AnnAssign(annotation=annotation):
                return (*_children(node), *_written_as_text(annotation))
            case _ if isinstance(node, _Scoped):
                self.nested.append(node)
                return self._around(node)
        return _children(node)

    def _around(self, node: ast.AST) -> Iterable[ast.AST | None]:
        """What is evaluated outside of the scope that a node makes."""
        match node:
            case ast.FunctionDef(args=arguments) | ast.AsyncFunctionDef(args=arguments):
                self._define(node.name, node.decorator_list)
                returned = (node.returns, *_written_as_text(node.returns))
                return (*node.decorator_list, *_evaluated(arguments), *returned)
            case ast.ClassDef(bases=bases, keywords=keywords):
                self._define(node.name, node.decorator_list)
                return (*node.decorator_list, *bases, *keywords)
            case ast.Lambda(args=arguments):
                return _evaluated(arguments)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                walruses = (inner for inner in ast.walk(node) if isinstance(inner, ast.NamedExpr))
                self.bound.update(inner.target.id for inner in walruses)
                return (node.generators[0].iter,)
            case _:
                raise AssertionError(node)

    def _define(self, name: str, decorators: list[ast.expr]) -> None:
        self.bound.add(name)
        for decorator in decorators:
            names = chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
            if len(names) > 1:
                self.changed.add(names[0])


def _is_dotted(text: str) -> bool:
    """Whether a text can only name a module in a package, or something in it: `pkg.module:name`."""
    module, colon, name = text.partition(":")
    return "." in module and all(map(str.isidentifier, [*module.split("."), *([name] if colon else [])]))


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes directly in a node but for those, such as operators, that have nothing in them."""
    for name in node._fields:
        value = getattr(node, name, None)
        for part in value if isinstance(value, list) else (value,):
            if isinstance(part, ast.AST) and part._fields:
                yield part


def _inside(node: ast.AST) -> _Scope:
    """The scope that a node makes."""
    match node:
        case ast.FunctionDef(body=body) | ast.AsyncFunctionDef(body=body) | ast.ClassDef(body=body):
            typed = getattr(node, "type_params", ())  # Python 3.12 and newer
            bound = {parameter.name for parameter in typed}
            if isinstance(node, ast.ClassDef):
                return _Scope([*typed, *body], "class", bound)
            return _Scope([*typed, *body], "function", bound | _parameters(node.args))
        case ast.Lambda(args=arguments, body=expression):
            return _Scope([expression], "function", _parameters(arguments))
        case ast.DictComp(key=key, value=value, generators=generators):
            return _Scope([key, value, *_loops(generators)], "function")
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
            return _Scope([node.elt, *_loops(node.generators)], "function")
        case _:
            raise AssertionError(node)


def _loops(generators: list[ast.comprehension]) -> Iterator[ast.AST]:
    for number, generator in enumerate(generators):
        yield from (generator.target, *generator.ifs)
        if number:  # the first is evaluated outside
            yield generator.iter


def _every(arguments: ast.arguments) -> list[ast.arg]:
    some = (arguments.vararg, arguments.kwarg)
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *(arg for arg in some if arg)]


def _parameters(arguments: ast.arguments) -> set[str]:
    return {argument.arg for argument in _every(arguments)}


def _evaluated(arguments: ast.arguments) -> list[ast.AST | None]:
    return [*_every(arguments), *arguments.defaults, *arguments.kw_defaults]


def _written_as_text(annotation: ast.expr | None) -> Iterator[ast.expr]:
    """The expressions that stand in an annotation as strings: `list["Model"]`."""
    for part in ast.walk(annotation) if annotation is not None else ():
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            try:
                yield ast.parse(part.value, mode="eval").body
            except SyntaxError:
                continue


def _look_up(names: tuple[str, ...], scopes: tuple[_Scope, ...], uses: Uses) -> None:
    """Add a name, with its attributes, to what is used: from the innermost scope that binds it."""
    for scope in reversed(scopes):
        if scope.kind != "module" and names[0] in scope.bound:
            uses.imported.update((imported, names[1:]) for imported in scope.imported.get(names[0], ()))
            return
    uses.names.add(names)
