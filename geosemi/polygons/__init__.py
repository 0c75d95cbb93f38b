"""From a mask to polygons: traced in strips, measured on the ellipsoid, simplified without gaps, written styled."""
