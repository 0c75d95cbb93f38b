<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22" styleCategories="Symbology">
  <renderer-v2 type="categorizedSymbol" attr="class_id" symbollevels="0">
    <categories>
      <category value="0" type="long" label="wood" symbol="0" render="true" />
      <category value="1" type="long" label="lake &quot;A&quot; &lt;&amp; sea&gt;" symbol="1" render="true" />
      <category value="2" type="long" label="Straße" symbol="2" render="true" />
    </categories>
    <symbols>
      <symbol type="fill" name="0" alpha="1" clip_to_extent="1">
        <layer class="SimpleFill" enabled="1" pass="0" locked="0">
          <Option type="Map">
            <Option name="color" value="16,96,16,140" type="QString" />
            <Option name="style" value="solid" type="QString" />
            <Option name="outline_color" value="16,96,16,255" type="QString" />
            <Option name="outline_style" value="solid" type="QString" />
            <Option name="outline_width" value="0.26" type="QString" />
            <Option name="outline_width_unit" value="MM" type="QString" />
            <Option name="joinstyle" value="miter" type="QString" />
          </Option>
          <prop k="color" v="16,96,16,140" />
          <prop k="style" v="solid" />
          <prop k="outline_color" v="16,96,16,255" />
          <prop k="outline_style" v="solid" />
          <prop k="outline_width" v="0.26" />
          <prop k="outline_width_unit" v="MM" />
          <prop k="joinstyle" v="miter" />
        </layer>
      </symbol>
      <symbol type="fill" name="1" alpha="1" clip_to_extent="1">
        <layer class="SimpleFill" enabled="1" pass="0" locked="0">
          <Option type="Map">
            <Option name="color" value="32,64,208,140" type="QString" />
            <Option name="style" value="solid" type="QString" />
            <Option name="outline_color" value="32,64,208,255" type="QString" />
            <Option name="outline_style" value="solid" type="QString" />
            <Option name="outline_width" value="0.26" type="QString" />
            <Option name="outline_width_unit" value="MM" type="QString" />
            <Option name="joinstyle" value="miter" type="QString" />
          </Option>
          <prop k="color" v="32,64,208,140" />
          <prop k="style" v="solid" />
          <prop k="outline_color" v="32,64,208,255" />
          <prop k="outline_style" v="solid" />
          <prop k="outline_width" v="0.26" />
          <prop k="outline_width_unit" v="MM" />
          <prop k="joinstyle" v="miter" />
        </layer>
      </symbol>
      <symbol type="fill" name="2" alpha="1" clip_to_extent="1">
        <layer class="SimpleFill" enabled="1" pass="0" locked="0">
          <Option type="Map">
            <Option name="color" value="255,240,0,140" type="QString" />
            <Option name="style" value="solid" type="QString" />
            <Option name="outline_color" value="255,240,0,255" type="QString" />
            <Option name="outline_style" value="solid" type="QString" />
            <Option name="outline_width" value="0.26" type="QString" />
            <Option name="outline_width_unit" value="MM" type="QString" />
            <Option name="joinstyle" value="miter" type="QString" />
          </Option>
          <prop k="color" v="255,240,0,140" />
          <prop k="style" v="solid" />
          <prop k="outline_color" v="255,240,0,255" />
          <prop k="outline_style" v="solid" />
          <prop k="outline_width" v="0.26" />
          <prop k="outline_width_unit" v="MM" />
          <prop k="joinstyle" v="miter" />
        </layer>
      </symbol>
    </symbols>
  </renderer-v2>
  <layerGeometryType>2</layerGeometryType>
</qgis>
