"""gRPC's own services: health checking and reflection, in protobuf's own language.

Sources: `grpc/health/v1/health.proto`, `grpc/reflection/v1/reflection.proto` and, which is the same under
another name, `v1alpha`.
"""

from __future__ import annotations

from functools import cache

from flowserve.core.wire.grpc.proto import Service, read_service


@cache
def health_service() -> Service:
    """Health checking, which Kubernetes and load balancers speak."""
    return read_service(_HEALTH)


@cache
def reflection_services() -> tuple[Service, ...]:
    """Reflection, by which `grpcurl` and Postman learn what there is; both versions that clients ask for."""
    return tuple(read_service(f"package grpc.reflection.{version};{_REFLECTION}") for version in _VERSIONS)


_HEALTH = """
package grpc.health.v1;

message HealthCheckRequest { string service = 1; }

enum ServingStatus { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; SERVICE_UNKNOWN = 3; }
message HealthCheckResponse { ServingStatus status = 1; }

service Health {
  rpc Check(HealthCheckRequest) returns (HealthCheckResponse);
  rpc Watch(HealthCheckRequest) returns (stream HealthCheckResponse);
}
"""

_VERSIONS = ("v1", "v1alpha")
_REFLECTION = """
message ExtensionRequest { string containing_type = 1; int32 extension_number = 2; }
message ServerReflectionRequest {
  string host = 1;
  oneof message_request {
    string file_by_filename = 3;
    string file_containing_symbol = 4;
    ExtensionRequest file_containing_extension = 5;
    string all_extension_numbers_of_type = 6;
    string list_services = 7;
  }
}
message FileDescriptorResponse { repeated bytes file_descriptor_proto = 1; }
message ExtensionNumberResponse { string base_type_name = 1; repeated int32 extension_number = 2; }
message ServiceResponse { string name = 1; }
message ListServiceResponse { repeated ServiceResponse service = 1; }
message ErrorResponse { int32 error_code = 1; string error_message = 2; }
message ServerReflectionResponse {
  string valid_host = 1;
  ServerReflectionRequest original_request = 2;
  oneof message_response {
    FileDescriptorResponse file_descriptor_response = 4;
    ExtensionNumberResponse all_extension_numbers_response = 5;
    ListServiceResponse list_services_response = 6;
    ErrorResponse error_response = 7;
  }
}

service ServerReflection {
  rpc ServerReflectionInfo(stream ServerReflectionRequest) returns (stream ServerReflectionResponse);
}
"""
