"""`pommel image …`. Band: face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pommel.app.image import creating, files, listing, saving, signing
from pommel.app.image.names import given, given_machine, given_remote
from pommel.app.machine.info import info
from pommel.app.workspace import Workspace
from pommel.cli.common import F, complete_name, confirm, dry_run_option, json_option, yes_option
from pommel.cli.output import answer, answered, print_json, print_pairs, print_table, reporter, wants_json
from pommel.settings import format_size


def complete_image(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """The images' names, for a shell's completion."""
    from click.shell_completion import CompletionItem

    from pommel.errors import PommelError

    try:
        names = [each.entry.name for each in listing.listed().images]
    except PommelError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


image_argument = click.argument("image", metavar="NAME[:TAG]", shell_complete=complete_image)
as_option = click.option("--as", "new", metavar="NAME[:TAG]", help="What to call the image.")
force_option = click.option("--force", is_flag=True, help="Replace what has that name.")
unsigned_option = click.option(
    "--unsigned", is_flag=True, help="Take the image without a signature of a key that you trust."
)


remote_argument = click.argument("remote", metavar="oci://HOST/NAME[:TAG]")


def way_options(command: F) -> F:
    """How a registry is reached."""
    for option in (
        click.option("--plain-http", is_flag=True, help="The registry speaks HTTP without TLS."),
        click.option("--ca", type=click.Path(path_type=Path), metavar="FILE", help="Trust this certificate (PEM)."),
    ):
        command = option(command)
    return command


@click.group("image")
def image_command() -> None:
    """Save machines as images, and send images to files, registries and other hosts.

    An image has a machine's disks, firmware variables, boot disk and settings, and no UUID, MAC address or serial
    number. Each machine that is created from it gets its own.
    """


@image_command.command("save")
@click.argument("machine", metavar="MACHINE[:TAG]", shell_complete=complete_name)
@as_option
@click.option("--with-key", is_flag=True, help="Include the SSH key that opens the guest.")
@dry_run_option
@json_option
def save_command(machine: str, new: str | None, with_key: bool, dry_run: bool) -> None:
    """Save the stopped machine MACHINE as an image, called MACHINE:TAG or as --as says.

    Parts of the disks that an earlier image already contains are not stored again. An image with the same name is
    replaced.
    """
    workspace = Workspace.current()
    name, called = given_machine(machine, new)
    if dry_run:
        planned = saving.dry_run(name, called, workspace=workspace)
        answer(
            planned, f"would save {name} as {planned['machine_image']}: up to {format_size(planned['bytes'])} are read"
        )
        return
    made = saving.save(name, called, with_key=with_key, workspace=workspace, report=reporter())
    if answered(made.as_dict()):
        return
    size = format_size(made.image.manifest.packed_bytes)
    click.echo(f"{made.image.entry.name} is saved: {size}, of which {format_size(made.new_bytes)} are new")


@image_command.command("list")
@json_option
def list_command() -> None:
    """List the images of this host."""
    found = listing.listed()
    if answered(found.as_dict()):
        return
    rows = [
        (
            each.entry.name,
            each.machine.macos or each.machine.upstream,
            format_size(each.manifest.packed_bytes),
            each.machine.created,
            each.entry.signer or "-",
            each.entry.source,
        )
        for each in found.images
    ]
    print_table(("IMAGE", "SYSTEM", "SIZE", "CREATED", "SIGNED BY", "FROM"), rows)
    for name, why in found.damaged.items():
        click.echo(f"{name}: {why}", err=True)


@image_command.command("show")
@image_argument
@json_option
def show_command(image: str) -> None:
    """Show all details of an image."""
    told = listing.show(given(image))
    if answered(told):
        return
    pairs = {
        "image": told["machine_image"],
        "digest": told["digest"],
        "created": f"{told['created']} by Pommel {told['pommel']}",
        "system": told["macos"] or told["upstream"],
        "model": told["model"] or "",
        "from": told["image_source"],
        "signed by": told["signer"] or "nobody",
        "size": format_size(told["packed_bytes"]),
        "disks": ", ".join(
            f"{each['disk_file']} ({format_size(each['virtual_bytes'])}, {each['piece_count']} pieces)"
            for each in told["image_disks"]
        ),
        "files": ", ".join(each["path"] for each in told["image_files"]),
        "settings": ", ".join(f"{key} = {value}" for key, value in told["image_settings"].items()),
    }
    print_pairs({key: value for key, value in pairs.items() if value})


@image_command.command("create")
@image_argument
@click.argument("new")
@click.option("--model", help="The Mac model, such as iMac20,1.  [default: the model of the image]")
@dry_run_option
@json_option
def create_command(image: str, new: str, model: str | None, dry_run: bool) -> None:
    """Create machine NEW from an image, with a new identity."""
    workspace = Workspace.current()
    if dry_run:
        planned = creating.dry_run(given(image), new, workspace=workspace)
        answer(
            planned,
            f"would create {new} from {planned['machine_image']}, disks of {format_size(planned['virtual_bytes'])}",
        )
        return
    made = creating.create(given(image), new, model=model, workspace=workspace, report=reporter())
    if wants_json():
        print_json(info(new))
    else:
        click.echo(f"{new} is created from {given(image)} (ssh on port {made.ssh_port}): pommel up {new}")


@image_command.command("verify")
@image_argument
@json_option
def verify_command(image: str) -> None:
    """Read an image and compare each part with its checksum, and its signature with the keys that you trust."""
    told = listing.verify(given(image), report=reporter())
    if answered(told):
        return
    signed = f"signed by the trusted key {told['signer']}" if told["signer"] else "not signed by a trusted key"
    click.echo(f"{told['machine_image']} is complete: {format_size(told['read_bytes'])} read; {signed}")


@image_command.command("delete")
@image_argument
@yes_option
@json_option
def delete_command(image: str, yes: bool) -> None:
    """Delete an image, and the parts of disks that no other image needs. Machines created from it stay."""
    called = given(image)
    listing.must_be_there(called)
    confirm(f"Delete the image {called}?", yes=yes, typed=f"pommel image delete {called} --yes")
    told = listing.delete(called, report=reporter())
    answer(told, f"{told['machine_image']} is deleted: {format_size(told['freed_bytes'])} freed")


@image_command.command("export")
@image_argument
@click.argument("file", type=click.Path(path_type=Path))
@force_option
@json_option
def export_command(image: str, file: Path, force: bool) -> None:
    """Write an image to FILE, to carry it to another host."""
    told = files.export(given(image), file, force=force, report=reporter())
    answer(told, f"{told['machine_image']} is written to {told['file']} ({format_size(told['size_bytes'])})")


@image_command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@as_option
@unsigned_option
@force_option
@json_option
def import_command(file: Path, new: str | None, unsigned: bool, force: bool) -> None:
    """Take the image in FILE, which `export` has written, into this host's images."""
    called = given(new) if new else None
    made = files.take(file, called, unsigned=unsigned, force=force, report=reporter())
    answer(made.as_dict(), f"{made.entry.name} is imported ({format_size(made.manifest.packed_bytes)})")


@image_command.command("push")
@image_argument
@remote_argument
@way_options
@click.option("--may-distribute", is_flag=True, help="You may give this Mac's image to all who can reach the registry.")
@dry_run_option
@json_option
def push_command(
    image: str, remote: str, ca: Path | None, plain_http: bool, may_distribute: bool, dry_run: bool
) -> None:
    """Send an image to a registry, such as oci://registry.lan:5000/macs/sonoma:1.

    Parts that the registry already has are not sent. Who you are there is read from the files of skopeo, podman and
    docker, or from POMMEL_REGISTRY_USER and POMMEL_REGISTRY_PASSWORD.
    """
    from pommel.app.image import registries  # with aiohttp, which the other commands do without

    way = registries.RegistryAccess(ca, plain_http)
    told = registries.push(
        given(image),
        given_remote(remote),
        way=way,
        may_distribute=may_distribute,
        dry_run=dry_run,
        report=reporter(),
    )
    if answered(told):
        return
    sent = f"{told['sent_blobs']} parts ({format_size(told['sent_bytes'])})"
    where = told["registry_image"]
    click.echo(f"would send {sent} to {where}" if dry_run else f"{where} is complete: {sent} were sent")


@image_command.command("pull")
@remote_argument
@as_option
@way_options
@unsigned_option
@force_option
@json_option
def pull_command(remote: str, new: str | None, ca: Path | None, plain_http: bool, unsigned: bool, force: bool) -> None:
    """Fetch an image from a registry. Parts that are already here are not fetched.

    It resumes an interrupted download.
    """
    from pommel.app.image import registries

    called, way = given(new) if new else None, registries.RegistryAccess(ca, plain_http)
    made, came = registries.pull(
        given_remote(remote), called, way=way, unsigned=unsigned, force=force, report=reporter()
    )
    answer({**made.as_dict(), "fetched_bytes": came}, f"{made.entry.name} is here: {format_size(came)} were fetched")


@image_command.command("key")
@click.option("--new", is_flag=True, help="Create a key; from then on, images that you save are signed.")
@click.option("--take", type=click.Path(path_type=Path), metavar="FILE", help="Use this secret key of minisign.")
@json_option
def key_command(new: bool, take: Path | None) -> None:
    """Print the public key of the key that signs this host's images, in minisign's format."""
    workspace = Workspace.current()
    key = signing.new_key(workspace, take) if new or take else signing.own_key(workspace)
    if not answered({"key_id": key.id, "public_key": key.text}):
        click.echo(key.text, nl=False)


@image_command.command("trust")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--remove", metavar="ID", help="Trust the key with this id no longer.")
@json_option
def trust_command(file: Path | None, remove: str | None) -> None:
    """Trust images that are signed by the public key in FILE; without FILE, list the keys that you trust."""
    workspace = Workspace.current()
    if file is not None:
        key = signing.trust(workspace, file)
        click.echo(f"images signed by the key {key.id} are trusted", err=True)
    if remove is not None:
        signing.distrust(workspace, remove)
    keys = [key.id for key in signing.trusted(workspace)]
    if answered({"trusted_keys": keys}):
        return
    if file is None:
        for key_id in keys:
            click.echo(key_id)
