"""`hokusai-auth log`: what is to be done when the log has lost records that were read."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from services.command_line import CANNOT_RUN, run

if TYPE_CHECKING:
    from events.kafka_restore import Restored
    from events.keeper.mark_trail import Refusal
    from services.projector.settings import ProjectorSettings

# What the commands need is imported when they run: `hokusai-auth --help` starts fast.

T = TypeVar("T")

REFUSED = 1
SCHEMAS = ("projector", "billing")

Topic = Annotated[str, typer.Option(help="Name of the topic, with its prefix.")]
Partition = Annotated[int, typer.Option(min=0, help="Number of the partition.")]
Found = list[tuple[str, "Refusal"]]

log = typer.Typer(help="Records that the log has lost: what is refused, and why.", no_args_is_help=True)


@log.command("refusals")
def refusals_command() -> None:
    """List the partitions that are refused, and why. 0: none, 1: some, 2: cannot run."""
    found = _run(_refusals)
    for schema, refusal in found:
        typer.echo(f"{schema}: {refusal}")
    if found:
        raise typer.Exit(REFUSED)
    typer.echo("nothing is refused")


@log.command("accept-loss")
def accept_loss_command(
    topic: Topic,
    partition: Partition,
    actor: Annotated[str, typer.Option(prompt=True, help="Who decides this, for the audit trail.")],
    reason: Annotated[str, typer.Option(prompt=True, help="Why, for the audit trail.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give up records that the log has lost, and read on with what stands there now.

    What they have led to stays: use that was counted is counted, a key that was revoked is revoked.
    """
    found = _of(topic, partition)
    for schema, refusal in found:
        typer.echo(f"{schema}: offsets {refusal.first_lost} to {refusal.applied_to - 1}: {refusal.why}")
    if not yes:
        typer.confirm("Give up what was lost there, and read on with what stands there now?", abort=True)
    for schema, refusal in found:
        back = _run(partial(_accept, schema=schema, refusal=refusal, actor=actor, reason=reason))
        typer.echo(f"{schema}: reads on at offset {refusal.first_lost}; {back} lost events are known")


@log.command("restored")
def restored_command(topic: Topic, partition: Partition) -> None:
    """Read a partition on that was restored. 1: it does not hold all that was read, at the same offsets."""
    for schema, refusal in _of(topic, partition):
        if not _run(partial(_lift, schema=schema, refusal=refusal)):
            _fail(f"{schema}: {refusal}", REFUSED)
        typer.echo(f"{schema}: {topic}/{partition} holds all that was read: reads on")


@log.command("restore")
def restore_command(
    topic: Topic,
    copy: Annotated[str, typer.Option("--from", help="Name of the topic that is a copy of it.")],
    from_servers: Annotated[
        str | None, typer.Option(help="Bootstrap servers of the copy's cluster, if that is another one.")
    ] = None,
) -> None:
    """Fill a missing or empty topic from a copy, with the times of its records. Stop every service before."""
    restored = _run(partial(_restore, name=topic, copy=copy, from_servers=from_servers))
    typer.echo(f"{topic}: {restored.records} records")
    if restored.moved:
        typer.echo(
            f"{restored.moved} of them stand at other offsets than in {copy}: drop the schemas `projector` "
            "and `billing`, so that they are filled again"
        )


def _of(topic: str, partition: int) -> Found:
    found = [one for one in _run(_refusals) if (one[1].topic, one[1].partition) == (topic, partition)]
    if not found:
        _fail(f"{topic}/{partition} is not refused", CANNOT_RUN)
    return found


async def _refusals(settings: ProjectorSettings) -> Found:
    from events.keeper.database import connect
    from events.keeper.mark_trail import refusals_of
    from events.keeper.schema import knows_the_log

    found: Found = []
    for schema in SCHEMAS:
        async with await connect(settings.database_url, schema) as connection:
            if await knows_the_log(connection):
                names = [topic.name for topic in settings.all()]
                found += [(schema, refusal) for refusal in await refusals_of(connection, names)]
    return found


async def _accept(settings: ProjectorSettings, schema: str, refusal: Refusal, actor: str, reason: str) -> int:
    """How many events are known that were lost."""
    from events.kafka_group_offsets import rewind_group
    from events.kafka_log import KafkaEventLog, KafkaLogReader
    from events.keeper.database import connect
    from events.keeper.losses import accept_loss
    from services.projector.losses import follow_loss, put_back

    async with (
        await connect(settings.database_url, schema) as connection,
        KafkaLogReader(settings, settings.lifecycle) as reader,
        KafkaEventLog(settings) as log,
    ):
        is_projectors = schema == "projector"
        if refusal.topic == settings.rate_counters.name:
            # The windows process follows the offsets of its group; while it is refused it is no member.
            group = settings.group_id("windows")
            await rewind_group(settings, group, refusal.topic, refusal.partition, refusal.first_lost)
        lost = await put_back(connection, refusal, settings, reader, log) if is_projectors else ()
        async with connection.transaction():
            await accept_loss(connection, refusal, actor, reason, lost)
            if is_projectors:
                await follow_loss(connection, refusal, settings)
    return len(lost)


async def _restore(settings: ProjectorSettings, name: str, copy: str, from_servers: str | None) -> Restored:
    from events.errors import SettingsError
    from events.kafka_restore import restore_topic

    named = {topic.name: topic for topic in settings.all()}
    if name not in named:
        raise SettingsError([f"--topic: one of {', '.join(named)}"])
    servers = from_servers or settings.bootstrap_servers
    elsewhere = settings.model_copy(update={"bootstrap_servers": servers})
    return await restore_topic(settings, settings, named[name], copy, elsewhere)


async def _lift(settings: ProjectorSettings, schema: str, refusal: Refusal) -> bool:
    from events.keeper.database import connect
    from events.keeper.losses import lift_refusal
    from events.keeper.mark_trail import MarkTrail

    async with await connect(settings.database_url, schema) as connection:
        if not await MarkTrail(settings, settings.all()).is_whole(connection, refusal):
            return False
        await lift_refusal(connection, refusal)
    return True


def _run(work: Callable[[ProjectorSettings], Coroutine[Any, Any, T]]) -> T:
    async def work_on_settings() -> T:
        from services.projector.settings import ProjectorSettings

        return await work(ProjectorSettings.from_environment(os.environ))

    return run(work_on_settings)


def _fail(why: str, exit_code: int) -> NoReturn:
    typer.echo(why, err=True)
    raise typer.Exit(exit_code)


if __name__ == "__main__":
    log()
