"""The loop around a scene. Called, it maps one: `geosemi.predict(scene, model)`, see `geosemi.api.predict`."""

import sys

from geosemi import CallablePackage

sys.modules[__name__].__class__ = CallablePackage
