"""The criterion: a score, the pool in which weights compete, and the pattern."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from inspect import signature
from typing import Any

from torch import Tensor

from st_mm.arguments import choice, integer
from st_mm.calibration.rehearsal import rehearsal

from .evidence import Evidence
from .layout import layout_of, layouts_of
from .patterns import PATTERNS, Pattern
from .registry import call
from .rounds import iterate
from .scope import Rule, check_scope, choose, in_effect
from .scores import CHECKS, SCORES, Score, magnitude
from .stand_ins import Weights


@dataclass(frozen=True)
class Criterion:
    """Which weights are masked first, as a config describes it.

    Attributes:
        score (str): Name of a score.
        options (tuple[tuple[str, Any]]): Its options. Defaults to none.
        batches (int): Batches for scores, on each rank. Defaults to 10.
        rounds (int): Rounds of scoring and masking until a ratio is reached. Defaults to 1.
        scope (str): Pool in which weights compete. Defaults to ``'global'``.
        rules (tuple[Rule]): Exceptions by weight name. Defaults to none.
        pattern (Pattern, optional): Weights that are masked together. Defaults to None.
    """

    score: str
    options: tuple[tuple[str, Any], ...] = ()
    batches: int = 10
    rounds: int = 1
    scope: str = 'global'
    rules: tuple[Rule, ...] = ()
    pattern: Pattern | None = None

    @classmethod
    def build(
        cls,
        score: str | Mapping[str, Any] = 'magnitude',
        scope: str = 'global',
        rules: Sequence[Mapping[str, Any]] = (),
        pattern: str | Mapping[str, Any] | None = None,
    ) -> 'Criterion':
        """Build a criterion from a config.

        Args:
            score (str | dict): Name of the score; or a dict of ``type``, ``batches``, ``rounds``
                and the score's own options.
            scope (str): Name of the scope.
            rules (Sequence[dict]): Arguments of :class:`Rule`.
            pattern (str | dict, optional): As ``'2:4'``, or a dict of ``type`` and arguments.

        Raises:
            ValueError: If a name is unknown or an argument out of its range.
        """
        if not isinstance(score, str | Mapping):
            raise ValueError(f"score must be a name, or a dict with a 'type', got {score!r}")
        whole = isinstance(rules, Sequence) and not isinstance(rules, str)
        if not whole or not all(isinstance(rule, Mapping) for rule in rules):
            raise ValueError(f'rules must be a list of dicts, got {rules!r}')
        options: dict[str, Any] = dict(type=score) if isinstance(score, str) else dict(score)
        name = options.pop('type', None)
        choice('score', name, sorted(SCORES.module_dict))
        counts: dict[str, Any] = {key: options.pop(key, COUNTS[key]) for key in COUNTS}
        for key, value in counts.items():
            counts[key] = integer(key, value, 1)
        built = None if pattern is None else PATTERNS.build(pattern)
        check_scope(scope, built)
        try:
            signature(SCORES.get(name)).bind({}, None, **options)
        except TypeError as error:
            raise ValueError(f'score must have options that {name} takes: {error}') from error
        if name in CHECKS:
            CHECKS[name](None, **options)
        return cls(
            name,
            tuple(options.items()),
            **counts,
            scope=scope,
            rules=tuple(call('rule', Rule, rule) for rule in rules),
            pattern=built,
        )

    def config(self) -> dict[str, Any]:
        """Return the arguments of :meth:`build`, in plain types."""
        counts = {key: getattr(self, key) for key in COUNTS}
        pattern: Any = self.pattern
        if pattern is not None:
            pattern = dict(type=type(pattern).__name__, **asdict(pattern))
        return dict(
            score=dict(type=self.score, **counts, **dict(self.options)),
            scope=self.scope,
            rules=[asdict(rule) for rule in self.rules],
            pattern=pattern,
        )

    def check(self, ratio: float) -> None:
        """Make sure that the pattern can reach a ratio, and those of the rules.

        Raises:
            ValueError: If it cannot.
        """
        if self.pattern is None:
            return
        for each in (ratio, *(rule.ratio for rule in self.rules if rule.ratio)):
            self.pattern.check(each)

    def rehearse(self, evidence: Evidence, weights: Weights, ratio: float) -> None:
        """Find out before training what a prune could stumble over: the score, then the choice.

        The score is computed once; the choice is that of magnitudes.

        Args:
            evidence (Evidence): Data for the score; a batch is enough.
            weights (Mapping[str, Tensor]): Prunable weights by name.
            ratio (float): The ratio that training is to end at.

        Raises:
            ValueError: If an option of the score does not fit the model, the score cannot be
                computed, or scope, rules and pattern do not allow the ratio.
        """
        model = evidence.model
        if self.score in CHECKS:
            CHECKS[self.score](model, **dict(self.options))
        with rehearsal(f'the score {self.score}', model, SCORE_ADVICE):
            SCORES.get(self.score)(weights, evidence, **dict(self.options))
        choose(
            magnitude(weights),
            ratio,
            scope=self.scope,
            rules=self.rules,
            pattern=self.pattern,
            layouts=layouts_of(weights),
        )

    def fitting(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Keep only the weights that the pattern fits; the others stay dense."""
        fits = None if self.pattern is None else self.pattern.fits
        return {
            name: w
            for name, w in weights.items()
            if fits is None or fits(layout_of(w).shape(w.shape))
        }

    def choose(
        self,
        weights: Weights,
        evidence: Evidence,
        ratio: float,
        share: float = 1.0,
        masked: Mapping[str, tuple[Tensor, Tensor]] | None = None,
    ) -> dict[str, Tensor]:
        """Choose the weights that stay.

        Args:
            weights (Mapping[str, Tensor]): Prunable weights by name.
            evidence (Evidence): Data for the score.
            ratio (float): Share to drop, in [0, 1].
            share (float): Share of its final ratio that the schedule has reached. Defaults to 1.
            masked (Mapping[str, tuple[Tensor, Tensor]], optional): The masked weights and
                their values, see :func:`choose`. Defaults to None: no weights are masked.

        Returns:
            dict[str, Tensor]: Bool masks of the weights' shapes, True for what stays.

        Raises:
            ValueError: If the score cannot be computed, or the ratio cannot be reached.
        """
        score: Score = partial(SCORES.get(self.score), **dict(self.options))
        drop = partial(
            choose,
            scope=self.scope,
            rules=in_effect(self.rules, weights),  # some are for parts that do not train now
            pattern=self.pattern,
            masked=masked,
            layouts=layouts_of(weights),
        )

        def drop_to(scores: Mapping[str, Tensor], target: float) -> dict[str, Tensor]:
            return drop(scores, target, share=share * target / ratio if ratio else share)

        held = sum(int(where.sum()) for where, _ in (masked or {}).values())
        start = held / max(sum(weight.numel() for weight in weights.values()), 1)
        return iterate(score, weights, evidence, ratio, self.rounds, drop_to, start)


COUNTS = dict(batches=10, rounds=1)
SCORE_ADVICE = (
    "a score of gradients needs the loss that model(inputs, ..., mode='loss') gives, as mm's own "
    'train_step does; let the model give it so, or choose the score magnitude'
)
