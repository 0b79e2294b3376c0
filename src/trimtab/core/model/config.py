"""The kinds of Trimtab's own configuration (``trimtab.dev/v1``), as they stand in Git. Strict: an unknown field is an error.

The descriptions below are the reference: `trimtab schema KIND` publishes them as JSON Schema, and docs/reference is checked
against them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .errors import Problem
from .generator import Generated, Generator, Leaving
from .kind import NAME_PATTERN as NAME_PATTERN
from .kind import Metadata as Metadata
from .kind import Name as Name
from .kind import Strict as _Strict
from .names import Key
from .people import Grant, Group, User
from .policy import Policy
from .protection import EnvironmentApprovals, Protection
from .selector import Selector

API_VERSION = "trimtab.dev/v1"
DEFAULT_ENVIRONMENT = "host"
DEFAULT_PROJECT = "default"
DEFAULT_TARGET = "host"

NAME_OR_NOT_PATTERN = r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$"
DEPENDENCY_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(@[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$"
SHARE_PATTERN = r"^(100|[1-9][0-9]?)%$"

RepositoryPath = Annotated[str, Meta(description="A path relative to the repository's root, with forward slashes.")]
Pointer = Annotated[str, Meta(pattern=r"^/", description="An RFC 6901 JSON pointer, with `*` and `[name=web]` as parts.")]

Dependency = Annotated[
    str,
    Meta(pattern=DEPENDENCY_PATTERN, description="`name`, an Application in the same Environment, or `name@environment`."),
]
Share = Annotated[int, Meta(ge=1)] | Annotated[str, Meta(pattern=SHARE_PATTERN)]
"""How many, as a number or as a share of all."""


class Chart(_Strict, frozen=True):
    """A Helm chart that a chart repository offers. Its content is pinned in `.trimtab/charts.lock`."""

    repository: Annotated[
        str, Meta(description='Where the chart is: "https://…" for a chart repository, "oci://…" for a registry.')
    ] = ""
    name: Annotated[str, Meta(description="The chart's name there.")] = ""
    version: Annotated[
        str, Meta(description='Its version, or a range such as ">=1.2 <2"; `trimtab chart lock` settles what that means.')
    ] = ""


class HelmOverlay(_Strict, frozen=True):
    """What one Environment adds to `source.helm`."""

    value_files: Annotated[list[str], Meta(description="Files of values, read after those of the source.")] = []
    values: Annotated[dict[str, Any], Meta(description="Values that win over those of the source.")] = {}


class Helm(_Strict, frozen=True):
    """How a chart is rendered."""

    release_name: Annotated[str, Meta(description='`.Release.Name`; "" is the name of the Application.')] = ""
    namespace: Annotated[str, Meta(description="`.Release.Namespace`.")] = "default"
    value_files: Annotated[
        list[str],
        Meta(
            description="Files of values, the last one wins: relative to the source's path, from the repository's root with a "
            "leading `/`, or `$name/path` in the source of that name."
        ),
    ] = []
    values: Annotated[dict[str, Any], Meta(description="Values that win over those of the files.")] = {}
    ignore_missing_value_files: Annotated[bool, Meta(description="Leave out files of values that are not there.")] = False
    include_crds: Annotated[bool, Meta(description="Whether what stands in `crds/` of the chart is part of the result.")] = (
        msgspec.field(default=True, name="includeCRDs")
    )
    skip_tests: Annotated[bool, Meta(description="Leave out what is only there for `helm test`.")] = True


class Jsonnet(_Strict, frozen=True):
    """How Jsonnet is evaluated."""

    file: Annotated[str, Meta(description='The file to evaluate, relative to the path; "" is main.jsonnet.')] = ""
    libraries: Annotated[
        list[str],
        Meta(description="Directories to look for imports in, the first one wins; as paths of `helm.valueFiles`."),
    ] = []
    variables: Annotated[dict[str, Any], Meta(description="External variables, for `std.extVar`.")] = {}
    arguments: Annotated[dict[str, Any], Meta(description="Arguments of the function that the file is.")] = {}


class Plugin(_Strict, frozen=True):
    """A command of the server that renders."""

    name: Annotated[str, Meta(description="Its name, as `trimtab serve --plugin` gives it.")] = ""
    parameters: Annotated[
        dict[str, str], Meta(description="What it is told, as variables of its environment: `a-b` is `PARAMETER_A_B`.")
    ] = {}


class Source(_Strict, frozen=True):
    """Where manifests are and how to render them."""

    path: RepositoryPath = "."
    repository: Annotated[str, Meta(description='URL or path of the repository; "" is the configuration repository itself.')] = ""
    revision: Annotated[
        str,
        Meta(description='Branch, tag, full commit id, or a semver range such as ">=1.2 <2"; "" is the default branch.'),
    ] = ""
    renderer: Annotated[
        Literal["", "plain", "kustomize", "helm", "jsonnet", "plugin", "none"],
        Meta(
            description='How to render; "" detects it (a chart, Chart.yaml, kustomization.yaml, main.jsonnet, or plain). '
            "`none`: the source has only files for others."
        ),
    ] = ""
    name: Annotated[str, Meta(description="A name that other sources of the Application address its files by.")] = ""
    chart: Annotated[Chart, Meta(description="A chart from a chart repository, in place of one at the path.")] = Chart()
    helm: Annotated[Helm, Meta(description="For charts.")] = Helm()
    jsonnet: Annotated[Jsonnet, Meta(description="For Jsonnet.")] = Jsonnet()
    plugin: Annotated[Plugin, Meta(description="For the renderer `plugin`.")] = Plugin()


class Ignore(_Strict, frozen=True):
    """Fields that somebody else may set: they are neither drift nor overwritten."""

    pointers: Annotated[
        list[Pointer],
        Meta(
            description="The fields, as RFC 6901 pointers; a part may hold `*` (any text; alone, each item of a list) or be "
            "`[name=web]` (the items of a list whose name is web)."
        ),
    ] = []
    writers: Annotated[
        list[str],
        Meta(
            description="Fields that these have written are left to them, by shell globs. What a writer is, the target says: a field "
            "manager on Kubernetes; the host has none."
        ),
    ] = []
    when: Annotated[
        str,
        Meta(
            description="A CEL expression over `object`, the manifest as it stands in Git; the rule counts for objects of which it "
            'is true. "" is all of them.'
        ),
    ] = ""
    group: Annotated[str, Meta(description='API group of the objects; "" is every group.')] = ""
    kind: Annotated[str, Meta(description='Kind of the objects; "" is every kind.')] = ""
    name: Annotated[str, Meta(description='Name of the object; "" is every name.')] = ""


class Rollout(_Strict, frozen=True):
    """In which order, and how many at a time, the selected Environments get what is new."""

    max_unavailable: Annotated[
        Share,
        Meta(description="How many of the Environments, or which share of them, may be on their way or unwell at once."),
    ] = 1
    steps: Annotated[
        list[Share],
        Meta(
            description="So many of the Environments first; once all of those are healthy, up to so many, and at last the rest."
        ),
    ] = []
    order: Annotated[list[Name], Meta(description="Environments that come first, in this order; the others follow by name.")] = []
    order_by_label: Annotated[
        str,
        Meta(description="A label whose value orders the Environments, numbers by size; those without it come last."),
    ] = ""
    pause_seconds: Annotated[
        int,
        Meta(ge=0, le=604800, description="How long an Environment must have been healthy before others go on."),
    ] = 0


class Placement(_Strict, frozen=True):
    """An Environment that an Application runs in, or several that labels choose."""

    name: Annotated[str, Meta(pattern=NAME_OR_NOT_PATTERN, description="The Environment. Either this or `selector` is said.")] = (
        ""
    )
    path: Annotated[str, Meta(description="A path that takes the place of source.path in this Environment (an overlay).")] = ""
    revision: Annotated[str, Meta(description="A revision that takes the place of source.revision in this Environment.")] = ""
    after: Annotated[
        list[Name],
        Meta(description="Promotion: the same commit, once the Application is healthy in these Environments or fleets."),
    ] = []
    depends_on: Annotated[
        list[Dependency], Meta(description="What `spec.dependsOn` says, for this Environment alone, besides what it says.")
    ] = []
    helm: Annotated[HelmOverlay, Meta(description="What this Environment adds to source.helm.")] = HelmOverlay()
    selector: Annotated[
        Selector | None,
        Meta(description="Every Environment whose labels match, except those that another entry names."),
    ] = None
    fleet: Annotated[
        str,
        Meta(
            pattern=NAME_OR_NOT_PATTERN, description="What `after` of other entries may call the selected Environments together."
        ),
    ] = ""
    rollout: Annotated[
        Rollout | None,
        Meta(
            description="With `selector`: how what is new goes through the Environments; without it one after the other, by name."
        ),
    ] = None


class ApplicationSpec(_Strict, frozen=True):
    """What to run, where, and after what."""

    source: Annotated[Source, Meta(description="Where the manifests are.")] = Source()
    sources: Annotated[
        list[Source],
        Meta(description="Several sources in place of one: each is rendered, and what they come to is joined."),
    ] = []
    environments: Annotated[list[Placement], Meta(min_length=1, description="Where it runs.")] = msgspec.field(
        default_factory=lambda: [Placement(name=DEFAULT_ENVIRONMENT)]
    )
    depends_on: Annotated[
        list[Dependency],
        Meta(
            description="Applications that must be healthy before this one is applied: `name` in the same Environment, "
            "`name@environment` in another one, whatever its target."
        ),
    ] = []
    project: Annotated[Name, Meta(description="The Project whose limits hold.")] = "default"
    ignore: Annotated[list[Ignore], Meta(description="Fields of this Application's objects that somebody else may set.")] = []
    conflicts: Annotated[
        Literal["", "force", "fail"],
        Meta(
            description='When somebody else has set a field that Git sets: take it over, or fail; "" is the target\'s own rule.'
        ),
    ] = ""
    adopt: Annotated[
        bool,
        Meta(description="Take over objects that are there already and belong to nobody. Off: such an object is a Hold."),
    ] = False
    progress_deadline_seconds: Annotated[
        int,
        Meta(ge=1, le=86400, description="How long a Deployment may take to get healthy before it counts as failed."),
    ] = 600


class RemovalBudget(_Strict, frozen=True):
    """How much one commit may remove without approval. More than `percent` of the inventory *and* more than `objects` is held."""

    percent: Annotated[int, Meta(ge=0, le=100, description="Share of the inventory, in percent.")] = 50
    objects: Annotated[int, Meta(ge=0, description="Number of objects that may always go.")] = 3
    empty_render: Annotated[
        Literal["hold", "allow"],
        Meta(description="What to do when nothing at all would be left of an Application: hold it for approval, or allow it."),
    ] = "hold"


class Signatures(_Strict, frozen=True):
    """What a commit has to be signed with before its content runs here."""

    required: Annotated[
        bool, Meta(description="True holds content of commits that are not signed with a key of a User; what runs goes on.")
    ] = False
    by: Annotated[list[Name], Meta(description="Groups whose members' signatures count; empty is every User.")] = []


class EnvironmentSpec(_Strict, frozen=True):
    """A place where things run, with its rules."""

    target: Annotated[
        dict[str, Any],
        Meta(
            description="Where things run: `kind` names the adapter (`host` when nothing is said), the other fields are its own."
        ),
    ] = {}
    removal: Annotated[RemovalBudget, Meta(description="How much one commit may remove without approval.")] = RemovalBudget()
    ignore: Annotated[list[Ignore], Meta(description="Fields of all objects here that somebody else may set.")] = []
    approvals: Annotated[
        EnvironmentApprovals, Meta(description="Whose approval a plan needs before anything of it is carried out here.")
    ] = EnvironmentApprovals()
    signatures: Annotated[Signatures, Meta(description="How commits have to be signed.")] = Signatures()


class ProjectSpec(_Strict, frozen=True):
    """Limits for the Applications of a Project. An empty list allows everything; patterns are shell globs."""

    description: Annotated[str, Meta(description="What the Project is, for people.")] = ""
    repositories: Annotated[
        list[str], Meta(description="Repositories that sources may name, and that charts and their archives may come from.")
    ] = []
    environments: Annotated[list[str], Meta(description="Environments that Applications may run in.")] = []
    environment_selector: Annotated[
        Selector | None,
        Meta(
            description="Labels that an Environment must have for Applications to run in it; with `environments`, both must hold."
        ),
    ] = None
    namespaces: Annotated[list[str], Meta(description="Namespaces that objects may live in.")] = []
    kinds: Annotated[list[str], Meta(description="Kinds that may be rendered, as `Kind` or `group/Kind`.")] = []
    cluster_kinds: Annotated[
        list[str],
        Meta(
            description="Kinds of objects outside of every namespace, as in `kinds`. "
            "Empty: all of them, but none when `namespaces` are limited."
        ),
    ] = []
    account: Annotated[
        str,
        Meta(
            pattern=r"^[!-~]{0,253}$",
            description='Whose rights its Applications have at a target; "" is Trimtab\'s own account there.',
        ),
    ] = ""


class Environment(_Strict, frozen=True):
    """A place where Applications run."""

    metadata: Annotated[Metadata, Meta(description="The name, and free labels.")]
    spec: Annotated[EnvironmentSpec, Meta(description="What is declared.")] = EnvironmentSpec()

    @property
    def target_kind(self) -> str:
        """The adapter's name."""
        return str(self.spec.target.get("kind", DEFAULT_TARGET))

    @property
    def target_settings(self) -> dict[str, Any]:
        """The adapter's own fields, which it has checked when the document was read."""
        return {name: value for name, value in self.spec.target.items() if name != "kind"}


class Application(_Strict, frozen=True):
    """What to run."""

    metadata: Annotated[Metadata, Meta(description="The name, and free labels.")]
    spec: Annotated[ApplicationSpec, Meta(description="What is declared.")] = ApplicationSpec()

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def sources(self) -> tuple[Source, ...]:
        """At least one. The first is the one whose Revision a Deployment carries."""
        return tuple(self.spec.sources) or (self.spec.source,)

    def needs(self, placement: Placement) -> tuple[Key, ...]:
        """What must be healthy before this one is applied in ``placement``."""
        said = dict.fromkeys([*self.spec.depends_on, *placement.depends_on])
        return tuple(Key.said(one, placement.name) for one in said)


class Project(_Strict, frozen=True):
    """Limits for a group of Applications."""

    metadata: Annotated[Metadata, Meta(description="The name, and free labels.")]
    spec: Annotated[ProjectSpec, Meta(description="What is declared.")] = ProjectSpec()


Document = Environment | Application | Project | User | Group | Grant | Policy | Protection | Generator
KINDS: dict[str, type[Document]] = {
    "Environment": Environment,
    "Application": Application,
    "Project": Project,
    "User": User,
    "Group": Group,
    "Grant": Grant,
    "Policy": Policy,
    "Protection": Protection,
    "Generator": Generator,
}


class Fleet(msgspec.Struct, frozen=True):
    """The Environments that one entry of an Application selects, in the order in which they get what is new.

    ``steps`` are counts of members from the first on, ascending: those of one step are healthy before the next begins.
    """

    members: tuple[str, ...]
    name: str = ""
    max_unavailable: int = 1
    steps: tuple[int, ...] = ()
    pause_seconds: int = 0


class Origin(msgspec.Struct, frozen=True):
    """Where a document stands: ``file`` relative to the repository's root, ``line`` from 1."""

    file: str
    line: int


class Configuration(msgspec.Struct, frozen=True):
    """All that is declared, by name. ``origins`` is by ``Kind/name``. The Environment `host` and the Project `default` are always there.

    Applications stand here with one entry for each Environment that they run in, whether it was named or selected; ``fleets`` has
    those that an entry selected together. Applications that a Generator makes stand among the others; ``generated`` says which,
    ``leaving`` which it made before, as long as something of them is left.

    ``problems`` says what is wrong, where it stands. ``doubtful`` names documents, as ``Kind/name``, that are wrong in Git
    now: what they said before stands in for them, where it is known; ``complete`` is False while any document could not be read at all, so that something
    missing must not be read as "no longer declared".
    """

    environments: dict[str, Environment] = {}
    applications: dict[str, Application] = {}
    projects: dict[str, Project] = {}
    users: dict[str, User] = {}
    groups: dict[str, Group] = {}
    grants: dict[str, Grant] = {}
    policies: dict[str, Policy] = {}
    protections: dict[str, Protection] = {}
    generators: dict[str, Generator] = {}
    generated: dict[str, Generated] = {}
    leaving: dict[str, Leaving] = {}
    fleets: dict[str, tuple[Fleet, ...]] = {}
    origins: dict[str, Origin] = {}
    problems: tuple[Problem, ...] = ()
    doubtful: tuple[str, ...] = ()
    complete: bool = True
