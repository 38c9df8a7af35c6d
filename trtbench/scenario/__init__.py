"""A Scenario: what is requested, from YAML, validated and frozen before anything is spent.

Every field's description is its documentation: `trtbench schema` prints it as JSON schema for editors.
"""
