"""Calls any RPC of a server by what its reflection tells, with Python's gRPC library.

usage: grpc_client.py FOLDER TARGET

FOLDER has the compiled reflection and health protocols. Each line of standard input is a JSON object, and so is each
answer: {"services": true}, {"methods": SERVICE}, or {"method": "pkg.Service/Method", "request": {…}}. A stream can be
read slowly ("pause": seconds after the first message) and given up ("cancel_after": messages).
"""

import json
import sys
import time

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

sys.path.insert(0, sys.argv[1])
import health_pb2  # noqa: E402,F401
import reflection_pb2  # noqa: E402

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


class Reflection:
    def __init__(self, channel):
        self.ask = channel.stream_stream(
            REFLECTION,
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        self.pool = descriptor_pool.DescriptorPool()
        self.known = set()

    def request(self, **fields):
        message = reflection_pb2.ServerReflectionRequest(**fields)
        return next(self.ask(iter([message]), timeout=10))

    def services(self):
        answer = self.request(list_services="")
        return [service.name for service in answer.list_services_response.service]

    def add(self, answer):
        if answer.HasField("error_response"):
            raise LookupError(answer.error_response.error_message)
        files = {}
        for data in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            files[file.name] = file
        for name in list(files):
            self.add_file(name, files)

    def add_file(self, name, files):
        if name in self.known:
            return
        self.known.add(name)
        if name not in files:
            self.add(self.request(file_by_filename=name))
            return
        for dependency in files[name].dependency:
            self.add_file(dependency, files)
        self.pool.Add(files[name])

    def service(self, name):
        try:
            self.add(self.request(file_containing_symbol=name))
            return self.pool.FindServiceByName(name)
        except LookupError:
            if not name.startswith("grpc.health."):
                raise
            # gRPC's own health service has no descriptors to tell of.
            return descriptor_pool.Default().FindServiceByName(name)


def is_streaming(method):
    proto = descriptor_pb2.MethodDescriptorProto()
    method.CopyToProto(proto)
    return proto.server_streaming


def call(channel, reflection, line):
    service, name = line["method"].split("/")
    method = reflection.service(service).methods_by_name[name]
    factory = message_factory.MessageFactory()
    request = factory.GetPrototype(method.input_type)()
    json_format.ParseDict(line["request"], request)
    kind = channel.unary_stream if is_streaming(method) else channel.unary_unary
    stub = kind(
        "/" + line["method"],
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=factory.GetPrototype(method.output_type).FromString,
    )
    messages = []
    code, details = grpc.StatusCode.OK, ""
    try:
        answer = stub(request, timeout=100)
        for message in answer if is_streaming(method) else [answer]:
            messages.append(json_format.MessageToDict(message, preserving_proto_field_name=True))
            if len(messages) == 1:
                time.sleep(line.get("pause", 0))
            if len(messages) == line.get("cancel_after", 0):
                answer.cancel()
    except grpc.RpcError as error:
        code, details = error.code(), error.details()
    return {"code": code.name, "details": details, "messages": messages}


def main():
    channel = grpc.insecure_channel(sys.argv[2])
    reflection = Reflection(channel)
    for text in sys.stdin:
        line = json.loads(text)
        if "services" in line:
            answer = {"names": reflection.services()}
        elif "methods" in line:
            answer = {"names": [method.name for method in reflection.service(line["methods"]).methods]}
        else:
            answer = call(channel, reflection, line)
        print(json.dumps(answer), flush=True)


main()
