// All alarms with their states, those that need attention first.

import { badge, fill, html, moment, table } from "/static/dom.js";

export const alarmsPage = ({ place, read }) => ({
  title: "Alarms",
  every: 10_000,
  refresh: async () => {
    const { alarms } = await read("alarms");
    const ringing = alarms.filter((alarm) => alarm.state === "ALARM").length;
    fill(place, html("div", { class: "heading" }, html("h1", {}, "Alarms"), html("span", {}, ringing ? `${ringing} of ${alarms.length} in alarm` : `None of ${alarms.length} in alarm`)),
      html("section", { class: "card" }, table("Alarms", ["Alarm", "State", "Since", "Reason"], alarms.map((alarm) => [
        [html("b", {}, alarm.name), html("small", {}, alarm.description), !alarm.actions && html("small", {}, "Its actions are off.")].filter(Boolean),
        badge(alarm.state), moment(alarm.since), html("small", {}, alarm.reason)]), "There are no alarms.")));
  },
});
