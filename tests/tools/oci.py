"""Writes directories as the layers of an image, into one OCI archive.

    oci.py NAME ENTRYPOINT ARCHIVE LAYER...

Every byte follows from the arguments and the files: nothing of the machine, the user or the time gets in.
"""

import gzip
import hashlib
import io
import json
import os
import stat
import sys
import tarfile

NOBODY = "65534:65534"
DATE = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))


def entry(name, mode, size=0):
    """A file of nobody in particular."""
    info = tarfile.TarInfo(name)
    info.mode, info.size, info.mtime = mode, size, DATE
    return info


def layer(directory):
    """The directory as a tar, in the order of names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for above, folders, files in os.walk(directory):
            folders.sort()
            path = os.path.relpath(above, directory)
            if path != ".":
                folder = entry(path, 0o755)
                folder.type = tarfile.DIRTYPE
                tar.addfile(folder)
            for name in sorted(files):
                file = os.path.join(above, name)
                runs = os.stat(file).st_mode & stat.S_IXUSR
                with open(file, "rb") as content:
                    size = os.fstat(content.fileno()).st_size
                    inside = os.path.normpath(os.path.join(path, name))
                    tar.addfile(entry(inside, 0o755 if runs else 0o644, size), content)
    return buffer.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encode(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def main(name, entrypoint, archive, *directories):
    blobs = []

    def blob(kind, data):
        blobs.append(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest(data), "size": len(data)}

    plain = [layer(directory) for directory in directories]
    layers = [blob("layer.v1.tar+gzip", gzip.compress(tar, 6, mtime=0)) for tar in plain]
    platform = {"architecture": "amd64" if os.uname().machine == "x86_64" else "arm64", "os": "linux"}
    config = blob("config.v1+json", encode({
        **platform,
        "config": {"User": NOBODY, "Entrypoint": [entrypoint], "Env": ["PATH=/usr/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in plain]},
    }))
    manifest = blob("manifest.v1+json", encode({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
    }))
    manifest["platform"] = platform
    manifest["annotations"] = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1],
    }
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest],
    }
    files = {"oci-layout": encode({"imageLayoutVersion": "1.0.0"}), "index.json": encode(index)}
    files.update({"blobs/sha256/" + digest(data)[7:]: data for data in blobs})
    with tarfile.open(archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(files):
            tar.addfile(entry(path, 0o644, len(files[path])), io.BytesIO(files[path]))


if __name__ == "__main__":
    main(*sys.argv[1:])
