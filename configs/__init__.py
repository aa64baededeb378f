"""The configuration space as code: the ladder, typed settings, bundles, and the YAML that people edit."""
