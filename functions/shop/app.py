"""The app that every story adds its functions to."""

from stepbridge import App

app = App("shop")
