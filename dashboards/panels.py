"""What the dashboards are built of: their data source, their variables, their kinds of panels."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")
CHOSEN = 'policy=~"$policy", tool=~"$tool"'
OF_TOOL = "{{tool}} ({{policy}})"
HALF, WHOLE, HEIGHT = 12, 24, 8


def query(expr: str, legend: str = "", *, exemplars: bool = False) -> Dataquery:
    """`exemplars`: single calls as points, each of which leads to its trace."""
    made = Dataquery().ref_id("A").expr(expr).legend_format(legend)
    return made.exemplar(exemplar=True) if exemplars else made


def quantile(of: float, metric: str, by: str) -> str:
    return f"histogram_quantile({of}, sum by ({by}, le) (rate({metric}_bucket{{{CHOSEN}}}[5m])))"


def over_time(title: str, unit: str, *queries: Dataquery) -> TimeSeries:
    panel = TimeSeries().title(title).unit(unit).min(0).datasource(SOURCE).span(HALF).height(HEIGHT)
    for each in queries:
        panel.with_target(each)
    return panel


def now(title: str, expr: str) -> Table:
    listed = Dataquery().ref_id("A").expr(expr).instant().format(PromQueryFormat.TABLE)
    return Table().title(title).datasource(SOURCE).span(HALF).height(HEIGHT).with_target(listed)


def number(title: str, expr: str, unit: str = "none") -> Stat:
    return Stat().title(title).unit(unit).datasource(SOURCE).span(6).height(4).with_target(query(expr))


def choice(name: str, of: str) -> QueryVariable:
    values = QueryVariable(name).datasource(SOURCE).query(of).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    return values.multi(multi=True).include_all(include_all=True).all_value(".*")


def board(name: str, title: str, since: str) -> Dashboard:
    """Without panels. `since`: how far it looks back, such as `now-1h`."""
    return (
        Dashboard(f"toolpolicy: {title}")
        .uid(f"toolpolicy-{name}")
        .tags(["toolpolicy"])
        .time(since, "now")
        .refresh("30s")
        .with_variable(DatasourceVariable("datasource").type("prometheus"))
        .with_variable(choice("policy", "label_values(toolpolicy_circuit_state, policy)"))
        .with_variable(choice("tool", 'label_values(toolpolicy_circuit_state{policy=~"$policy"}, tool)'))
    )


def text(dashboard: Dashboard) -> str:
    """The JSON that Grafana imports."""
    return JSONEncoder(sort_keys=True, indent=1).encode(dashboard.build()) + "\n"
