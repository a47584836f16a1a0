"""The component: from one YAML file to a data set's assets, checks, jobs and schedule."""
