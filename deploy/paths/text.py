"""A survey as text for people (pure)."""

from __future__ import annotations

from collections.abc import Iterator

from switchproof.deploy.paths.survey import EntryPoint, State, Survey, SurveyVerdict
from switchproof.deploy.redact.redactor import plain

_VERDICTS = {
    SurveyVerdict.CLEAN: "clean: every active deploy path keeps to the contract",
    SurveyVerdict.BREAKS: "breaks the contract",
    SurveyVerdict.NOTHING: "nothing found: no deploy path was found, so it is unknown how this is deployed",
    SurveyVerdict.NOT_UNDERSTOOD: "not understood: review each listed entry, and accept it with --vouch=NAME",
}


def survey_text(survey: Survey) -> str:
    """Describe the findings: active paths first, each with the lines that show it."""
    return plain("\n".join(_lines(survey)) + "\n")


def _lines(survey: Survey) -> Iterator[str]:
    active = survey.active
    rest = [entry for entry in survey.entry_points if entry.state is not State.ACTIVE]
    paths, points = _count(len(active), "active deploy path"), _count(len(survey.entry_points), "entry point")
    yield f"{paths} of {points} in {survey.repository}"
    for entry in active:
        yield ""
        through = "through the shared host-side script" if entry.shared_script else "past the shared host-side script"
        yield f"{entry.id}  ({entry.kind}, {', '.join(entry.providers)}, {through})"
        yield from _details(entry)
    by_hand = [entry for entry in rest if entry.state is State.NO_DEPLOY and entry.findings]
    for heading, entries in (
        ("Refuse", [entry for entry in rest if entry.state is State.REFUSES]),
        ("Not understood", [entry for entry in rest if entry.state is State.NOT_UNDERSTOOD]),
        ("By hand, and no deploy path", by_hand),
    ):
        if entries:
            yield ""
            yield f"{heading}:"
        for entry in entries:
            yield f"  {entry.id}  {entry.place}"
            yield from (f"  {line}" for line in _details(entry))
    if survey.not_understood:
        yield ""
        yield "Files that were not understood:"
        for each in survey.not_understood:
            yield f"  {each.place}: {each.words}"
    if survey.vouched:
        yield ""
        yield f"Skipped, because you vouch for it: {', '.join(survey.vouched)}"
    yield ""
    yield f"Verdict: {_VERDICTS[survey.verdict]}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _details(entry: EntryPoint) -> Iterator[str]:
    for action in entry.actions:
        yield f"  does    {action.what}  {action.place}"
    for finding in sorted(entry.findings, key=lambda each: (not each.breaks, each.kind, each.place)):
        yield f"  {'BREAKS' if finding.breaks else 'note  '}  {finding.kind}: {finding.words}"
        yield f"          {finding.place}: {finding.place.text}"
    for each in entry.not_understood:
        yield f"  UNSURE  {each.words}"
        yield f"          {each.place}: {each.place.text}"
