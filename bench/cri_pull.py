"""Pulls images as a kubelet does, through containerd's CRI plugin: `cri_pull.py SOCKET CONCURRENCY LIST`."""

import concurrent.futures
import pathlib
import sys

import grpc

METHOD = "/runtime.v1.ImageService/PullImage"


def varint(number):
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes(data + bytes([number]))


def first_field(data):
    """A message whose field 1 has these bytes."""
    return b"\x0a" + varint(len(data)) + data


def request(reference):
    """PullImageRequest{image: ImageSpec{image: reference}}"""
    return first_field(first_field(reference.encode()))


def main():
    socket, concurrency, references = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3]).read_text().split()
    with grpc.insecure_channel(f"unix://{socket}") as channel:
        pull = channel.unary_unary(METHOD, request_serializer=request, response_deserializer=bytes)
        with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
            list(pool.map(lambda reference: pull(reference, timeout=600), references))


if __name__ == "__main__":
    main()
