<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22" styleCategories="AllStyleCategories">
  <pipe>
    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1">
      <colorPalette>
        <paletteEntry value="0" color="#106010" alpha="255" label="wood" />
        <paletteEntry value="1" color="#2040d0" alpha="255" label="lake &quot;A&quot; &lt;&amp; sea&gt;" />
        <paletteEntry value="2" color="#fff000" alpha="255" label="Straße" />
      </colorPalette>
    </rasterrenderer>
  </pipe>
</qgis>
