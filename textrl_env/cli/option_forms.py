"""The form that options take on the command line; the pipeline's dataclasses say the rest.

`with OPTION_FORMS: tyro.cli(...)` shows `Path | None` as PATH without `(default: None)`, since the help of such an
option says what happens without it; a switch has one form; and the options of some groups stand among their owner's.
What a dataclass refuses comes out as a `Refusal`, with the option's whole name.
"""

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from textrl_env.errors import InputError

FLAT = frozenset({"stage", "stages", "how", "training", "checkpoints", "kind", "judging", "replies", "options", "what"})
"""Groups whose options stand among their owner's; others keep the group's name in front, as in --endpoint.timeout."""
OPTION_FORMS = ConstructorRegistry()

_SEEN = "the form of these fields is settled"


@dataclass(frozen=True)
class Refusal:
    """The message of a dataclass that refused an option; it takes the place of the command."""

    message: str


@OPTION_FORMS.struct_rule
def _give_forms(info: StructTypeInfo) -> StructConstructorSpec | None:
    if not is_dataclass(info.type) or _SEEN in info.markers:
        return None
    spec = ConstructorRegistry.get_struct_spec(replace(info, markers=(*info.markers, _SEEN)))
    if not isinstance(spec, StructConstructorSpec):
        return None
    fields = tuple(map(_give_form, spec.fields))
    return replace(spec, fields=fields, instantiate=_construct_or_refuse(spec.instantiate))


def _construct_or_refuse(construct: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a constructor: refusals of its groups are passed up by their name. tyro would frame them as its own."""

    def construct_or_refuse(*values: Any, **options: Any) -> Any:
        for name, value in options.items():
            if isinstance(value, Refusal):
                return Refusal(value.message if name in FLAT else f"{name}.{value.message}")
        try:
            return construct(*values, **options)
        except InputError as error:
            return Refusal(str(error))

    return construct_or_refuse


def _give_form(field: StructFieldSpec) -> StructFieldSpec:
    kind: Any = field.type
    if is_dataclass(kind) and field.name in FLAT:
        kind = Annotated[kind, tyro.conf.arg(name="")]
    elif kind is bool:
        kind = Annotated[tyro.conf.FlagCreatePairsOff[bool], tyro.conf.arg(help_behavior_hint="")]
    elif get_origin(kind) in (Union, UnionType):
        metavar = "|".join(_name_scalar(part) for part in get_args(kind) if part is not NoneType)
        hint = "" if NoneType in get_args(kind) else None
        kind = Annotated[kind, tyro.conf.arg(metavar=metavar, help_behavior_hint=hint)]
    return replace(field, type=kind)


def _name_scalar(kind: Any) -> str:
    """Returns a type as the help names it, as PATH; one of several values as INT…."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is tuple:
        return f"{_name_scalar(get_args(kind)[0])}…"
    return "|".join(map(str, get_args(kind))) or str(kind.__name__).upper()
