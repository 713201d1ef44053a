"""Calls the CRI of containerd, or of anybody else, with Python's gRPC library.

usage: cri_client.py FOLDER TARGET

FOLDER has the CRI's messages as protoc makes them. Each line of standard input is a JSON object, "method"
("RuntimeService/RunPodSandbox"), "request" and perhaps "timeout" (seconds), and so is each answer: "code", "details" and
"messages".
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory

sys.path.insert(0, sys.argv[1])
from cri import api_pb2  # noqa: E402


def call(channel, line):
    service, name = line["method"].split("/")
    method = api_pb2.DESCRIPTOR.services_by_name[service].methods_by_name[name]
    factory = message_factory.MessageFactory(descriptor_pool.Default())
    request = factory.GetPrototype(method.input_type)()
    json_format.ParseDict(line["request"], request)
    stub = channel.unary_unary(
        f"/runtime.v1.{service}/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=factory.GetPrototype(method.output_type).FromString,
    )
    try:
        answer = stub(request, timeout=line.get("timeout", 60))
        message = json_format.MessageToDict(answer, preserving_proto_field_name=True)
        return {"code": "OK", "details": "", "messages": [message]}
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details(), "messages": []}


def main():
    channel = grpc.insecure_channel(sys.argv[2])
    for text in sys.stdin:
        print(json.dumps(call(channel, json.loads(text))), flush=True)


main()
