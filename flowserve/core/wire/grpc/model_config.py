"""Triton's configuration of a model, in protobuf's own language: what this server has something to say about.

Source: Triton's `model_config.proto`, whose names and numbers these are.
"""

MODEL_CONFIG = """
enum DataType {
  TYPE_INVALID = 0; TYPE_BOOL = 1; TYPE_UINT8 = 2; TYPE_UINT16 = 3; TYPE_UINT32 = 4; TYPE_UINT64 = 5;
  TYPE_INT8 = 6; TYPE_INT16 = 7; TYPE_INT32 = 8; TYPE_INT64 = 9; TYPE_FP16 = 10; TYPE_FP32 = 11;
  TYPE_FP64 = 12; TYPE_STRING = 13; TYPE_BF16 = 14;
}
message ModelTensorReshape { repeated int64 shape = 1; }
message ModelInput {
  string name = 1;
  DataType data_type = 2;
  repeated int64 dims = 4;
  ModelTensorReshape reshape = 5;
}
message ModelOutput {
  string name = 1;
  DataType data_type = 2;
  repeated int64 dims = 3;
  string label_filename = 4;
  ModelTensorReshape reshape = 5;
}
enum InstanceKind { KIND_AUTO = 0; KIND_GPU = 1; KIND_CPU = 2; KIND_MODEL = 3; }
message ModelInstanceGroup {
  string name = 1;
  int32 count = 2;
  repeated int32 gpus = 3;
  InstanceKind kind = 4;
}
enum TimeoutAction { REJECT = 0; DELAY = 1; }
message ModelQueuePolicy {
  TimeoutAction timeout_action = 1;
  uint64 default_timeout_microseconds = 2;
  bool allow_timeout_override = 3;
  uint32 max_queue_size = 4;
}
message ModelDynamicBatching {
  repeated int32 preferred_batch_size = 1;
  uint64 max_queue_delay_microseconds = 2;
  bool preserve_ordering = 3;
  uint64 priority_levels = 4;
  uint64 default_priority_level = 5;
  ModelQueuePolicy default_queue_policy = 6;
}
message ModelEnsembling {
  message Step {
    string model_name = 1;
    int64 model_version = 2;
    map<string, string> input_map = 3;
    map<string, string> output_map = 4;
    string model_namespace = 5;
  }
  repeated Step step = 1;
}
message ModelParameter { string string_value = 1; }
message ModelResponseCache { bool enable = 1; }
message ModelConfig {
  string name = 1;
  string platform = 2;
  int32 max_batch_size = 4;
  repeated ModelInput input = 5;
  repeated ModelOutput output = 6;
  repeated ModelInstanceGroup instance_group = 7;
  oneof scheduling_choice {
    ModelDynamicBatching dynamic_batching = 11;
    ModelEnsembling ensemble_scheduling = 15;
  }
  map<string, ModelParameter> parameters = 14;
  string backend = 17;
  ModelResponseCache response_cache = 24;
}
"""
