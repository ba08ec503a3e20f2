"""The JSON Schema of the report file, generated from the dataclasses of the report.

report.schema.json beside this module is the promise to readers of report files. After a change of
the dataclasses, write it anew:

    python -m tasks.results.report_schema > tasks/results/report.schema.json
"""

import json
import sys
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from tasks.models import FileResult
from tasks.results.run_report import NodeUse, RunInfo, RunSummary


@dataclass(frozen=True, slots=True)
class ReportFile:
    """The report of a run of batch-convert."""

    run: RunInfo
    summary: RunSummary
    nodes: list[NodeUse]
    files: list[FileResult]


class StrictSchema(GenerateJsonSchema):
    """Generates objects that have all keys of their dataclass, and no other keys or defaults."""

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        return super().dataclass_schema(schema) | {"additionalProperties": False}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  pydantic passes it
        return False

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,  # noqa: ARG002  as above
        total: bool,  # noqa: ARG002, FBT001  as above
    ) -> bool:
        return True


def report_schema() -> dict[str, Any]:
    adapter = TypeAdapter(ReportFile)
    schema = adapter.json_schema(mode="serialization", schema_generator=StrictSchema)
    return {"$schema": StrictSchema.schema_dialect} | schema


if __name__ == "__main__":
    sys.stdout.write(json.dumps(report_schema(), indent=2) + "\n")
