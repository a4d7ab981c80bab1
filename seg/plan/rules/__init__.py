"""The rules, a subject a module. Each is a pure function from figures to values with their reasons; its docstring names its source."""
