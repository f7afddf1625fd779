"""From conf/ to one configuration: Hydra's composition, the choice that is kept, the params.yaml that is written."""
