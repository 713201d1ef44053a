"""Validates a JSON document against a JSON Schema: validate_json.py SCHEMA DOCUMENT."""

import json
import sys

import jsonschema

with open(sys.argv[1], encoding="utf-8") as schema, open(sys.argv[2], encoding="utf-8") as document:
    rules = json.load(schema)
    jsonschema.Draft7Validator.check_schema(rules)
    problems = list(jsonschema.Draft7Validator(rules).iter_errors(json.load(document)))
for problem in problems[:10]:
    print("/".join(str(part) for part in problem.absolute_path), problem.message, sep=": ")
sys.exit(1 if problems else 0)
